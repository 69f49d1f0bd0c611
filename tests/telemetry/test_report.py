"""report.html: the right figures, whole pages from partial runs, and nothing that a policy wrote gets to act."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from telemetry.charts import Series, line_chart, stacked_chart
from telemetry.report import write_report
from telemetry.spool import SpoolWriter

pytestmark = pytest.mark.unit

HOSTILE = "<script>alert(1)</script><img src=x onerror='alert(2)'></pre>\u202eevil\x1b[2J"
SUMMARY = {
    "status": "finished",
    "steps": 50,
    "accuracy_before": 0.051,
    "accuracy_before_interval": [0.035, 0.074],
    "accuracy_after": 0.9375,
    "accuracy_after_interval": [0.913, 0.955],
    "length_before": 11.2,
    "length_after": 34.8,
    "wall_s": 251.0,
    "samples": 6400,
    "samples_per_s": None,
}


class Tags(HTMLParser):
    """Collects the tags and attributes that a browser would see."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]


def write_evaluation(folder: Path, step: int, text: str, *, correct: bool) -> None:
    folder.mkdir(exist_ok=True)
    columns = {
        "step": [step, step],
        "prompt_id": ["a", "a"],
        "prompt_text": [HOSTILE, HOSTILE],
        "completion_text": [text, "a second sample of the same problem"],
        "versions": [[step] * 7, [step]],
        "finish_reason": ["stop", "length"],
        "score": [1.1 if correct else None, None],
        "correct": [correct, False],
    }
    pq.write_table(pa.table(columns), folder / f"eval_{step:06d}.parquet")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run_folder = tmp_path / "demo"
    run_folder.mkdir()
    spool = SpoolWriter(run_folder / "metrics.jsonl")
    for step in range(1, 51):
        shares = {f"time/{name}_share": 0.2 for name in ("generate", "reward", "train", "sync", "wait")}
        spool.append(step, {"reward/mean": step / 50, "train/mismatch_kl": float("nan"), "staleness/max": 2.0} | shares)
    for step, accuracy in ((0, 0.051), (50, 0.9375)):
        spool.append(step, {"eval/accuracy": accuracy, "eval/accuracy_low": 0.03, "eval/accuracy_high": 0.95})
    write_evaluation(run_folder / "rollouts", 0, HOSTILE, correct=False)
    write_evaluation(run_folder / "rollouts", 50, "<answer>912</answer>", correct=True)
    (run_folder / "summary.json").write_text(json.dumps(SUMMARY))
    (run_folder / "config.yaml").write_text(f"name: demo\noptions: {{hf_token: s3cret}}\ntext: {json.dumps(HOSTILE)}\n")
    return run_folder


def test_the_page_has_the_final_figures(folder: Path) -> None:
    text = write_report(folder).read_text()
    for figure in ("5.1%", "93.8%", "[91.3%, 95.5%]", "11.2 → 34.8", "6,400", "4:11", "finished", "50 steps logged"):
        assert figure in text
    assert "Completions / s" not in text


def test_samples_stand_before_and_after_one_per_problem(folder: Path) -> None:
    text = write_report(folder).read_text()
    assert "&lt;answer&gt;912&lt;/answer&gt;" in text
    assert re.search(r"step 0 · .*?wrong.*?no score · 7 tokens.*?step 50 · .*?right.*?score 1\.1", text, re.DOTALL)
    assert "a second sample" not in text


def test_nothing_that_was_sampled_or_configured_acts(folder: Path) -> None:
    page = write_report(folder).read_text()
    seen = Tags(page)
    assert "script" not in seen.tags
    assert "img" not in seen.tags
    assert not [name for name in seen.attributes if name.startswith("on")]
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert "default-src &#x27;none&#x27;" in page or "default-src 'none'" in page


def test_the_page_loads_nothing(folder: Path) -> None:
    page = write_report(folder).read_text()
    assert not {"src", "href", "srcset", "action", "data"} & set(Tags(page).attributes)
    assert not re.search(r"url\(|@import", page)
    assert "http://" not in page
    assert "https://" not in page


def test_secrets_of_the_config_do_not_show(folder: Path) -> None:
    page = write_report(folder).read_text()
    assert "s3cret" not in page
    assert "hf_token: &#x27;[redacted]&#x27;" in page


def test_drawings_are_well_formed_and_finite(folder: Path) -> None:
    drawings = re.findall(r"<svg.*?</svg>", write_report(folder).read_text(), re.DOTALL)
    assert len(drawings) == 4
    for drawing in drawings:
        ElementTree.fromstring(drawing)
        assert "nan" not in drawing


def test_a_run_that_has_just_begun_has_a_page(tmp_path: Path) -> None:
    assert "0 steps logged" in write_report(tmp_path).read_text()


def test_without_a_summary_the_evaluations_give_the_headline(folder: Path) -> None:
    (folder / "summary.json").unlink()
    assert "93.8%" in write_report(folder).read_text()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no run folder"):
        write_report(tmp_path / "absent")


def test_a_foreign_parquet_file_is_named_with_what_it_lacks(folder: Path) -> None:
    pq.write_table(pa.table({"step": [1]}), folder / "rollouts" / "eval_000099.parquet")
    with pytest.raises(ValueError, match=r"eval_000099\.parquet has no column prompt_id"):
        write_report(folder)


def test_long_curves_are_thinned_and_peaks_kept_where_they_matter() -> None:
    points = [(float(step), 9.0 if step == 777 else 0.0) for step in range(5000)]
    mean = line_chart([Series("mean", "red", points)])
    peak = line_chart([Series("largest", "red", points, keep_peaks=True)])
    assert mean.count(",") < 600
    assert "largest 9<" in peak
    assert "mean 9<" not in mean


@pytest.mark.parametrize("value", [0.0, -3.0, 1e-9, 1e12])
def test_a_curve_of_one_point_or_one_value_is_drawn(value: float) -> None:
    for points in ([(1.0, value)], [(1.0, value), (2.0, value)]):
        for drawing in (line_chart([Series("x", "red", points)]), stacked_chart([Series("x", "red", points)])):
            ElementTree.fromstring(drawing)
    assert "not measured" in line_chart([Series("x", "red", [])])

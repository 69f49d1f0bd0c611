"""Every YAML in configs/ is a run, and says what it promises."""

import re
from pathlib import Path

import pytest

from configs.derived import demanded_cpus, demanded_gpus
from configs.load import dump_run, load_run
from configs.pipeline_load import Pipeline, load_config
from configs.run import GrpoRun

pytestmark = pytest.mark.unit
CPU_RECIPES = ("code_cpu", "countdown_cpu", "countdown_star_cpu", "demo", "demo_star", "journey_source_cpu")
AFTER_ANOTHER_RUN = ("journey_cpu", "shortcut_cpu")  # whose files they read
CONFIGS = Path(__file__).parents[2] / "configs"
RECIPES = sorted(CONFIGS.glob("*.yaml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_parses_keeps_the_rules_and_survives_a_dump(recipe: Path, tmp_path: Path):
    run = load_config(recipe, check_paths=False)
    again = tmp_path / "resolved.yaml"
    again.write_text(dump_run(run.run if isinstance(run, Pipeline) else run))
    assert load_config(again, check_paths=False) == run


@pytest.mark.parametrize(
    ("recipe", "gpus"),
    [
        *((name, 0) for name in (*CPU_RECIPES, *AFTER_ANOTHER_RUN)),
        *(("gsm8k_1gpu", 1), ("tinyzero", 2), ("math_8gpu", 8), ("r1_zero", 8), ("math_64gpu_zero3", 64)),
        ("process_model_8gpu", 8),
    ],
)
def test_recipes_ask_for_the_gpus_in_their_name(recipe: str, gpus: int):
    assert demanded_gpus(load_run(CONFIGS / f"{recipe}.yaml", check_paths=False)) == gpus


SCORE_RECIPES = (
    "outcome_model_cpu",
    "step_labels_cpu",
    "process_model_cpu",
    "preference_model_cpu",
    "demo_reward_model",
)


@pytest.mark.parametrize("recipe", SCORE_RECIPES)
def test_recipes_of_score_models_fit_two_cores(recipe: str):
    assert demanded_cpus(load_run(CONFIGS / f"{recipe}.yaml", check_paths=False)) <= 2


@pytest.mark.parametrize("recipe", CPU_RECIPES)
def test_cpu_recipes_fit_two_cores_and_need_no_files(recipe: str):
    assert demanded_cpus(load_run(CONFIGS / f"{recipe}.yaml")) == 2


@pytest.mark.parametrize(
    ("recipe", "cpus", "gpus"), [("r1_zero_cpu", 2, 0), ("r1_pipeline_cpu", 2, 0), ("r1_pipeline", 32, 8)]
)
def test_every_stage_of_a_pipeline_fits_what_its_name_says(recipe: str, cpus: float, gpus: float):
    pipeline = load_config(CONFIGS / f"{recipe}.yaml", check_paths=cpus == 2)  # on two cores no files are needed
    assert isinstance(pipeline, Pipeline)
    for stage in pipeline.stages:
        assert demanded_cpus(stage.run) <= cpus, stage.name
        assert demanded_gpus(stage.run) <= gpus, stage.name


def test_every_recipe_for_cpus_is_run_by_make_demos_after_those_whose_files_it_reads():
    makefile = (CONFIGS.parent / "Makefile").read_text()
    order = makefile.partition("\nDEMOS := ")[2].partition("\n\n")[0].replace("\\\n", " ").split()
    small = {path.stem for path in RECIPES if path.stem.endswith("_cpu") or path.stem.startswith("demo")}
    assert set(order) == small
    names = {recipe: load_config(CONFIGS / f"{recipe}.yaml", check_paths=False).name for recipe in order}
    made: set[str] = set()
    for recipe in order:
        before = re.search(rf"^BEFORE_{recipe} := (.*)$", makefile, re.MULTILINE)
        made |= set(re.findall(r"\b(?:name=|runs/)([\w-]+)", before[1] if before else ""))
        lines = [line.partition("#")[0] for line in (CONFIGS / f"{recipe}.yaml").read_text().splitlines()]
        read = {name for line in lines for name in re.findall(r"\bruns/([\w-]+)", line)}
        assert read <= made, f"{recipe} reads what nothing before it has made"
        made.add(names[recipe])


def test_the_64_gpu_recipe_is_asynchronous_with_48_gpus_that_sample():
    run = load_run(CONFIGS / "math_64gpu_zero3.yaml", check_paths=False)
    assert isinstance(run, GrpoRun)
    assert run.rollout.workers * run.rollout.gpus_per_worker == 48
    assert (run.rollout.tensor_parallel, run.learner.zero_stage, run.algorithm.staleness.max_staleness) == (2, 3, 4)


def test_journey_and_shortcut_differ_in_their_rows_alone():
    journey, shortcut = (load_run(CONFIGS / f"{name}_cpu.yaml", check_paths=False) for name in ("journey", "shortcut"))
    texts = [dump_run(run).replace("journey.parquet", "shortcut.parquet") for run in (journey, shortcut)]
    assert texts[0].replace("name: journey", "name: shortcut") == texts[1]

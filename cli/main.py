"""The `rayzero` command. Exit codes: 0 done, 2 a mistake in the call, 1 a failure, 130 a signal."""

import faulthandler
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from cli.cluster import joins, read_ray_address, set_environment
from cli.reward_check import app as reward_app
from cli.sandbox import app as sandbox_app
from cli.score import score

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
app.command("score")(score)
app.add_typer(reward_app, name="reward")
app.add_typer(sandbox_app, name="sandbox")

ConfigFile = Annotated[Path, typer.Argument(metavar="FILE", help="A YAML config, see docs/config.md.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY.SUB=VALUE]...", help="Settings that replace those of the file.")
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, such as runs/demo.")]


@app.command()
def train(
    file: ConfigFile,
    overrides: Overrides = None,
    dry_run: Annotated[
        bool, typer.Option(help="Print the resolved config and what follows from it; run nothing.")
    ] = False,
    check_paths: Annotated[bool, typer.Option(help="Dry run: look for the model and data files.")] = True,
    resume: Annotated[
        bool, typer.Option(help="Go on from the newest complete checkpoint, or stage of a pipeline.")
    ] = False,
    overwrite: Annotated[bool, typer.Option(help="Delete the run of the same name first.")] = False,
    start: Annotated[
        str | None, typer.Option("--from", metavar="STAGE", help="Pipeline: run this stage and all after it again.")
    ] = None,
    only: Annotated[
        str | None, typer.Option(metavar="STAGE", help="Pipeline: run this stage alone, again if it is done.")
    ] = None,
) -> None:
    """Train a policy as the config says: one run, or the stages of a pipeline."""
    from configs.pipeline_load import Pipeline, load_config

    run = load_config(file, overrides or [], check_paths=check_paths or not dry_run)
    is_pipeline = isinstance(run, Pipeline)
    if (start or only) and not is_pipeline:
        raise ValueError(
            f"{'--from' if start else '--only'} is for pipelines, and {file} is a single run; leave it out"
        )
    if sum(map(bool, (start, only, resume or overwrite))) > 1:
        raise ValueError("--from, --only, and --resume or --overwrite exclude each other; give one of them")
    if dry_run:
        from cli.dry_run import print_dry_run, print_pipeline_dry_run

        print_pipeline_dry_run(run) if isinstance(run, Pipeline) else print_dry_run(run)
        return
    if isinstance(run, Pipeline):
        set_environment(loopback=not joins(run.run.cluster))
        from cli.pipeline import run_pipeline
        from trainers.pipeline import Selection

        # Together, as jobs that are tried again give them, they mean: go on with what is there, if there is anything.
        fresh = overwrite and not resume
        raise typer.Exit(run_pipeline(run, Selection(start, only), resume=resume, overwrite=fresh))
    from cli.prepare import prepare

    prepared = prepare(run, resume=resume, overwrite=overwrite)
    set_environment(loopback=not joins(run.cluster))
    from cli.train import train as train_prepared  # loads Ray: not before everything has been checked

    raise typer.Exit(train_prepared(prepared))


@app.command("eval")
def evaluate(
    file: ConfigFile,
    overrides: Overrides = None,
    policy: Annotated[Path | None, typer.Option(help="Model folder, checkpoint or run.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for rollouts and figures.")] = None,
) -> None:
    """Held-out accuracy of a model folder, with the evaluation, rewards and engines of a config."""
    from configs.load import load_run
    from configs.policy import FolderPolicy

    run = load_run(file, overrides or [])
    if policy is None:
        if not isinstance(run.policy, FolderPolicy):
            raise ValueError("--policy is missing: the config's policy is made from scratch, so name a model folder")
        policy = Path(run.policy.path)
    set_environment(loopback=not joins(run.cluster))
    from cli.evaluate import evaluate_folder

    for name, value in evaluate_folder(run, policy, out).items():
        typer.echo(f"{name} {value:.4f}" if isinstance(value, float) else f"{name} {value}")


@app.command()
def sample(
    run: RunFolder,
    step: Annotated[int | None, typer.Option(help="Of this step; default: the last.")] = None,
    correct: Annotated[
        bool | None, typer.Option("--correct/--wrong", help="Only right ones, or only wrong ones.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 5,
    sort: Annotated[Literal["reward", "length", "random"], typer.Option(help="In which order.")] = "random",
    kind: Annotated[
        Literal["train", "eval"], typer.Option(help="Rollouts of training, or of an evaluation.")
    ] = "train",
) -> None:
    """Show what the policy wrote, from the Parquet store of a run."""
    from cli.sample import show_samples

    show_samples(run, step=step, correct=correct, limit=limit, sort=sort, kind=kind)


@app.command()
def scale(
    run: RunFolder,
    rollouts: Annotated[int, typer.Option(help="Rollout workers from now on.")],
) -> None:
    """Add or drain rollout workers of a run that is going on."""
    address = read_ray_address(run)
    set_environment(loopback=address.startswith("127.0.0.1:"))
    from cli.scale import scale as scale_run

    typer.echo(scale_run(run, address, rollouts))


@app.command()
def journey(
    run: RunFolder,
    out: Annotated[Path, typer.Option(help="Folder for journey.parquet and shortcut.parquet.")],
    transition: Annotated[
        str, typer.Option(help="What stands between a wrong thought and the right one; in the policy's vocabulary.")
    ] = "\n\nWait, that is not right. Let me go back and try it another way.\n\n",
    pairs: Annotated[int, typer.Option(min=1, help="Journeys per problem, at most.")] = 1,
) -> None:
    """Traces that go wrong, notice and turn back, from the samples of a run (docs/journey.md)."""
    from cli.journey import write_journeys

    typer.echo(str(write_journeys(run, out, transition=transition, pairs=pairs)))


@app.command()
def serve(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Model folder, checkpoint or run.")],
    port: Annotated[int, typer.Option(min=1, max=65535, help="On 127.0.0.1.")] = 8000,
    name: Annotated[str, typer.Option(help="The model's name for those who ask.")] = "policy",
    max_model_len: Annotated[int | None, typer.Option(min=1, help="In tokens; default: the model's.")] = None,
    gpus: Annotated[int, typer.Option(min=0, help="GPUs (tensor parallel); 0: the CPU.")] = 0,
    kv_cache_gib: Annotated[float, typer.Option(min=0.1, help="KV cache on a CPU.")] = 1.0,
    key_file: Annotated[Path | None, typer.Option(help="File of the key; made when it is not there.")] = None,
) -> None:
    """Serve a model over HTTP by OpenAI's protocol on this machine, for a judge or a teacher (docs/judge.md)."""
    set_environment(loopback=True)
    from cli.serve import prepare_server

    server = prepare_server(
        model,
        port=port,
        name=name,
        max_model_len=max_model_len,
        gpus=gpus,
        kv_cache_gib=kv_cache_gib,
        key_file=key_file,
    )
    typer.echo(f"url: {server.url}\nmodel: {server.name}\napi_key_file: {server.key_file}")
    sys.stdout.flush()
    server.become()


@app.command()
def report(run: RunFolder) -> None:
    """Write report.html of a run again."""
    from telemetry.report import write_report

    if run.is_dir() and not (run / "config.yaml").is_file():
        raise ValueError(f"{run} is not the folder of a run (no file config.yaml); give one of `runs/`")
    if stages := sorted(path.parent.name for path in run.glob("*/stage.json")):
        raise ValueError(f"{run} is a pipeline; its stages have reports: give {run}/ and one of {', '.join(stages)}")
    typer.echo(str(write_report(run)))


@app.command()
def doctor(
    quick: Annotated[bool, typer.Option(help="Leave out the engines, which take a minute.")] = False,
) -> None:
    """Check this machine: versions, Ray, vLLM, DeepSpeed, sandbox walls, disk; say what to do."""
    set_environment(loopback=True)
    from cli.doctor import examine

    raise typer.Exit(examine(quick=quick))


def main() -> None:
    """Entry point."""
    faulthandler.enable()
    try:
        app(standalone_mode=True)
    except (ValueError, FileNotFoundError) as error:
        if not _is_for_the_user(error):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except (RuntimeError, ConnectionError) as error:
        if type(error).__module__.partition(".")[0] not in {"actors", "trainers", "cli"}:
            raise  # a fault of the program, whose place matters
        print(f"failed: {type(error).__name__}: {error}", *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _is_for_the_user(error: Exception) -> bool:
    """Whether this was raised while the command was still checking what it was given."""
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        return False
    return isinstance(error, ValueError | FileNotFoundError)


if __name__ == "__main__":
    main()

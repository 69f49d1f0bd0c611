"""`rayzero train` with `method: distill`: teacher and student put together from the parts that other methods have."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from actors.reference_model import ReferenceModel
from actors.reward_service import RewardService
from cli.prepare import Prepared, open_stages
from cli.recorder import Recorder
from cli.rejection import sample_rows_of
from cli.session import open_session
from cli.stop import StopRequest
from cli.supervised import run_sft
from configs.distill import HardDistillation, RecordedTeacher, SoftDistillation
from configs.distill_parts import student_run, teacher_run
from configs.engines import Rollout
from configs.run import DistillRun
from data.store import RolloutStore
from trainers.distill import teach
from trainers.rejection import Lineage, RejectionLoop, RejectionResult
from trainers.sft import Enrich
from trainers.ungraded import UngradedRewards


async def run_hard(prepared: Prepared, run: DistillRun, recorder: Recorder, stop: StopRequest) -> dict[str, Any]:
    """The teacher's answers become rows.parquet, its engines end, and the student is fine-tuned on the rows."""
    teacher = teacher_run(run)
    if teacher is None:
        result = await _filter_recorded(prepared, run, recorder, stop)
    else:
        teachers = replace(prepared, run=teacher, model=Path(teacher.policy.path).absolute())  # type: ignore[union-attr]
        result = await sample_rows_of(teachers, teacher, recorder, stop, resume_from=prepared.resume_from)
    figures = {"teacher": result.summary()}
    if result.rows_file is None:
        return {"status": "stopped", **figures}
    student = student_run(run, str(result.rows_file))
    traces, held_out = open_stages(student.stages, prepared.tokenizer, run.seed, run.policy.max_model_len)
    students = replace(prepared, run=student, traces=traces, held_out=held_out)
    return await _supervise(students, recorder, stop, enrich=None) | figures


async def run_soft(prepared: Prepared, run: DistillRun, recorder: Recorder, stop: StopRequest) -> dict[str, Any]:
    """The student follows the distribution of a teacher that scores every batch."""
    distill = run.distill
    assert isinstance(distill, SoftDistillation)
    teacher = await ReferenceModel.start(
        model=str(Path(distill.teacher.path).absolute()),
        dtype=distill.teacher.dtype or run.policy.dtype,
        reference=distill.teacher,
        chunk_tokens=run.learner.logits_chunk_tokens,
        run_folder=prepared.folder,
    )
    try:
        students = replace(prepared, run=student_run(run, ""))
        return await _supervise(students, recorder, stop, enrich=teach(teacher, distill.divergence))
    finally:
        teacher.kill()


async def _supervise(
    prepared: Prepared, recorder: Recorder, stop: StopRequest, *, enrich: Enrich | None
) -> dict[str, Any]:
    async with open_session(prepared) as session:
        return await run_sft(prepared, prepared.run, session, recorder, stop, enrich=enrich)  # type: ignore[arg-type]


async def _filter_recorded(
    prepared: Prepared, run: DistillRun, recorder: Recorder, stop: StopRequest
) -> RejectionResult:
    """The rejection loop over recorded answers: no engine, and rewards only where there are some."""
    distill, recorded = run.distill, prepared.recorded
    assert isinstance(distill, HardDistillation)
    assert isinstance(distill.teacher, RecordedTeacher)
    assert recorded is not None
    rejection = distill.rejection
    rejection = rejection.model_copy(update={"problems": min(rejection.problems, recorded.problems)})
    longest = run.policy.max_model_len
    service = None if run.rewards is None else RewardService(run.rewards, longest, prepared.folder)
    loop = RejectionLoop(
        rejection,
        Rollout(group_size=recorded.most_answers, max_completion_tokens=longest),
        run.rewards,
        seed=run.seed,
        prompts=recorded,
        fleet=recorded,
        service=service or UngradedRewards(),
        tracker=recorder,
        store=RolloutStore(prepared.folder / "rollouts"),
        folder=prepared.folder,
        lineage=Lineage(distill.teacher.path, 0),
        shown_rows=run.tracking.sample_rows,
        announce=recorder.stage,
    )
    if prepared.resume_from is not None:
        loop.resume(prepared.resume_from)
    stop.watch(loop)
    try:
        return await loop.run()
    finally:
        if service is not None:
            await service.close()

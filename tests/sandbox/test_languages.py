"""C, C++ and JavaScript: compiled once, told what the compiler said, refused with the reason where they cannot be."""

import os
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from sandbox import Language, Sandbox, SandboxLimits, StdioTask, SyntaxTask, TaskError, compiling, languages
from sandbox.languages import LanguageMissing, compile_limits
from sandbox.limits import MIB
from sandbox.walls.compile_folder import CompileFolder
from sandbox.walls.private_root import _links_on_the_way  # pyright: ignore[reportPrivateUsage]

SUMS: dict[Language, str] = {
    "c": '#include <stdio.h>\nint main(void) { int a, b; scanf("%d %d", &a, &b); printf("%d\\n", a + b); }\n',
    "cpp": "#include <iostream>\nint main() { int a, b; std::cin >> a >> b; std::cout << a + b; }\n",
    "javascript": 'const t = require("fs").readFileSync(0, "utf8").split(" ");\nconsole.log(+t[0] + +t[1]);\n',
}
BROKEN: dict[Language, tuple[str, str]] = {
    "c": ("int main(void) { return undeclared; }\n", "main.c:1:25: error: 'undeclared' undeclared"),
    "cpp": ("int main() { return missing; }\n", "main.cpp:1:21: error: 'missing' was not declared"),
    "javascript": ("let x = ;\n", "SyntaxError: Unexpected token ';'"),
}


@pytest.mark.integration
@pytest.mark.asyncio(loop_scope="module")
class TestRunning:
    @pytest.mark.parametrize("language", SUMS)
    async def test_a_program_is_judged_case_by_case_and_its_syntax_alone(self, box: Sandbox, language: Language):
        await self._need(box, language)
        source = SUMS[language]
        cases = [("3 4", "7"), ("1 1", "3"), ("5 5", "10")]
        result = await box.run(StdioTask(language, source, cases, stop_at_first_failure=False))
        assert [test.outcome for test in result.tests] == ["passed", "wrong_answer", "passed"]
        assert result.isolation == box.isolation
        assert (await box.run(SyntaxTask(language, source))).passed

    @pytest.mark.parametrize("language", BROKEN)
    async def test_what_the_compiler_says_is_in_the_result_and_short(self, box: Sandbox, language: Language):
        await self._need(box, language)
        source, message = BROKEN[language]
        for task in (StdioTask(language, source, [("", ""), ("", "")]), SyntaxTask(language, source)):
            result = await box.run(task)
            assert (result.outcome, len(result.tests)) == ("compile_error", 1)
            assert message in result.detail.replace("‘", "'").replace("’", "'") + result.tests[0].stderr
            assert len(result.detail) <= 300
        many = "".join(f"int f{i}() {{ return undefined_{i}; }}\n" for i in range(1000))
        if language != "javascript":
            result = await box.run(SyntaxTask(language, many))
            assert len(result.tests[0].stderr) <= compiling.MESSAGE_BYTES

    async def test_twenty_cases_compile_once(self, box: Sandbox):
        await self._need(box, "c")
        compiler = box._languages._compilers["c"]  # pyright: ignore
        before = sum(slot.worker.num_jobs for slot in compiler._slots if slot.worker)  # pyright: ignore
        assert (await box.run(StdioTask("c", SUMS["c"], [(f"{i} 1", f"{i + 1}") for i in range(20)]))).passed
        assert sum(slot.worker.num_jobs for slot in compiler._slots if slot.worker) == before + 1  # pyright: ignore

    async def test_statuses_of_a_compiled_program_are_its_own(self, box: Sandbox):
        await self._need(box, "c")
        for status in (1, 98, 99, 125):
            result = await box.run(StdioTask("c", f"int main(void) {{ return {status}; }}", [("", "")]))
            assert (result.outcome, result.detail) == ("runtime_error", f"exit status {status}")

    async def test_output_without_comparison(self, box: Sandbox):
        await self._need(box, "c")
        result, output = await box.execute("c", SUMS["c"], b"20 22")
        assert (result.outcome, output) == ("passed", b"42\n")
        result, output = await box.execute("c", "int main(", b"")
        assert (result.outcome, output) == ("compile_error", b"")

    async def _need(self, box: Sandbox, language: Language) -> None:
        if problem := await box.language_problem(language):
            assert "do not hold" not in problem
            pytest.skip(f"this machine has no {language}: {problem}")

    async def test_a_canary_that_gets_through_refuses_the_language(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setitem(compiling.CANARIES, "c", 'int main(void) { __builtin_puts("a secret"); }\n')
        async with Sandbox(LIMITS, workers=1) as box:
            with pytest.raises(TaskError, match=r"walls do not hold in isolation .*: a secret"):
                await box.run(StdioTask("c", SUMS["c"], [("1 1", "2")]))
            assert (await box.run(StdioTask("python", "print(1)", [("", "1")]))).passed

    async def test_a_tool_that_is_not_there_is_named(self, monkeypatch: pytest.MonkeyPatch):
        def nothing(language: Language) -> None:
            raise LanguageMissing(f"g++ is not on the PATH; install g++ for {language}")

        monkeypatch.setattr(compiling, "compiler", nothing)
        async with Sandbox(LIMITS, workers=1) as box:
            with pytest.raises(
                TaskError, match="language is 'cpp', which cannot be run here: g\\+\\+ is not on the PATH"
            ):
                await box.run(SyntaxTask("cpp", "int main() {}"))

    async def test_a_compiler_that_cannot_be_started_is_the_sandboxs_failure(
        self, box: Sandbox, monkeypatch: pytest.MonkeyPatch
    ):
        await self._need(box, "c")
        tool = languages.compiler("c")
        absent = replace(tool, arguments=("/usr/bin/absent", *tool.arguments[1:]))
        monkeypatch.setattr(compiling, "compiler", lambda _: absent)  # pyright: ignore[reportUnknownLambdaType]
        result = await box.run(StdioTask("c", SUMS["c"], [("1 1", "2")]))
        assert result.outcome == "infra_error"
        assert "a compiler could not be run" in result.detail

    async def test_nothing_but_python_runs_without_walls(self):
        async with Sandbox(LIMITS, "unsafe_none", workers=1) as box:
            for language in get_args(Language):
                assert bool(await box.language_problem(language)) == (language != "python")


LIMITS = SandboxLimits(cpu_s=1.0, wall_s=20.0, memory_bytes=256 * MIB, output_bytes=MIB)


@pytest.mark.unit
def test_a_compiler_has_limits_of_its_own_that_are_never_below_an_honest_sources_need():
    tight = compile_limits(replace(LIMITS, cpu_s=0.1, wall_s=0.1, memory_bytes=32 * MIB))
    assert (tight.cpu_s, tight.wall_s, tight.memory_bytes) == (10.0, 60.0, 1024 * MIB)
    assert compile_limits(replace(LIMITS, cpu_s=20.0)).cpu_s == 20.0


@pytest.mark.unit
def test_a_missing_tool_is_told_with_the_package(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(languages, "_on_path", lambda name: None)  # pyright: ignore[reportUnknownLambdaType]
    with pytest.raises(LanguageMissing, match="g\\+\\+ is not on the PATH; install g\\+\\+"):
        languages.compiler.__wrapped__("cpp")
    with pytest.raises(LanguageMissing, match="node is not on the PATH; install Node"):
        languages.engine.__wrapped__(None, 1, 1)


@pytest.mark.unit
def test_a_compile_folder_is_empty_after_each_run_and_gone_at_the_end(tmp_path: Path):
    folder = CompileFolder()
    kept = tmp_path / "kept"
    kept.write_text("kept")
    os.mkdir(f"{folder.path}/inner")
    Path(f"{folder.path}/inner/file").write_text("x")
    os.symlink(kept, f"{folder.path}/link")
    os.symlink(tmp_path, f"{folder.path}/inner/folder")
    folder.empty()
    assert os.listdir(folder.path) == []
    assert kept.read_text() == "kept"
    folder.remove()
    assert not os.path.exists(folder.path)


@pytest.mark.unit
def test_every_link_on_the_way_to_a_file_is_made_again(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "tool-12").touch()
    (tmp_path / "real" / "tool").symlink_to("tool-12")
    (tmp_path / "bin").symlink_to("real")
    links = _links_on_the_way([str(tmp_path / "bin" / "tool")])
    assert links == {
        str(tmp_path / "bin"): str(tmp_path / "real"),
        str(tmp_path / "real" / "tool"): str(tmp_path / "real" / "tool-12"),
    }

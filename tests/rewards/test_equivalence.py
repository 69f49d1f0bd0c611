import pytest

from rewards.equivalence import same_answer

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("x^2+2x+1", "(x+1)^2"),
        ("n(n+1)/2", r"\frac{n^2+n}{2}"),
        (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}"),
        ("0.5x", r"\frac{x}{2}"),
        (r"\sqrt{12}", "2√3"),
        (r"\sqrt{17}", "4.123106"),
        (r"e^{i\pi}", "-1"),
        ("3+4i", "4i+3"),
        ("10!", "3628800"),
        (r"\{1,2\}", "2, 1"),
        ("2, 3", "x=3 or x=2"),
        ("3", r"\{3\}"),
        (r"\pm 2", "-2, 2"),
        (r"1 \pm \sqrt{2}", r"1-\sqrt2, 1+\sqrt2"),
        ("(1, 2)", r"\langle 1, 2\rangle"),
        ("(1, 2)", "1, 2"),
        ("x=1, y=2", "(1, 2)"),
        ("x=1, y=2", "y=2, x=1"),
        ("[0, 1)", r"\left[0, 1\right)"),
        (r"(-\infty,1)\cup(2,\infty)", "(2,∞)∪(-∞,1)"),
        ("[0,2]", r"[0,1]\cup[1,2]"),
        ("1 < x < 3", "(1, 3)"),
        (r"x \ge 2", r"[2, \infty)"),
        (r"x \in [0,1]", r"0 \le x \le 1"),
        (r"\begin{pmatrix}1\\0.5\end{pmatrix}", r"\begin{bmatrix}1\\ \frac12\end{bmatrix}"),
        ("y = 2x+3", "2x+3"),
        ("2x - y + 3 = 0", "y = 2x+3"),
        ("f(x) = 1", "1"),
        ("3", "x = 2 + 1 = 3"),
        (r"\text{even}", "Even"),
    ],
)
def test_the_same_answer_in_other_words(gold: str, answer: str):
    assert same_answer(gold, answer)


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("2x", "2"),
        ("2N", "2n"),
        ("x", "y"),
        ("3t", "3"),
        (r"\pi", "3.14"),
        (r"\sqrt{2}", "1.41"),
        (r"\frac{1}{2004!}", r"\frac{1}{2006!}"),
        (r"\frac{1}{3}x", "0.333x"),
        ("(0.0000001, 1)", "(0.0000002, 1)"),
        ("3+4i", "3-4i"),
        ("3", "3, 4"),
        ("3, 4", "3"),
        ("3", "3 or 4"),
        ("(1, 2)", "(2, 1)"),
        ("[0, 1)", "[0, 1]"),
        ("(0, 1)", "[0, 1]"),
        (r"(-\infty,1]\cup(2,\infty)", r"(-\infty,1)\cup(2,\infty)"),
        (r"x \ge 2", r"(2, \infty)"),
        (r"\infty", r"-\infty"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}2\\1\end{pmatrix}"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1&2\end{pmatrix}"),
        ("x=1", "y=1"),
        ("x=1, y=2", "x=2, y=1"),
        ("7 = 11a+c", "11a+c"),
        ("2x+z=1", "1"),
        ("x^2+y^2=1", "x^2+y^2=2"),
        (r"\text{dog}", "god"),
        ("1", "NaN"),
        ("0", "1/0"),
        ("2", "[]"),
        ("12", "[1,2]"),
    ],
)
def test_another_answer(gold: str, answer: str):
    assert not same_answer(gold, answer)

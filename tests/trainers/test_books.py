import pytest

from trainers.books import Books, BooksError

pytestmark = pytest.mark.unit


def test_books_balance_when_everything_admitted_is_accounted_for():
    Books(admitted=10, trained=4, rejected=1, failed=1, aborted=1).check(in_flight=2, buffered=1)


@pytest.mark.parametrize(("in_flight", "buffered"), [(1, 1), (3, 1), (2, 0)])
def test_a_group_lost_or_counted_twice_is_an_error(in_flight: int, buffered: int):
    with pytest.raises(BooksError, match="10 groups were admitted"):
        Books(admitted=10, trained=4, rejected=1, failed=1, aborted=1).check(in_flight=in_flight, buffered=buffered)


def test_books_survive_a_checkpoint():
    books = Books(admitted=3, trained=2, failed=1)
    assert Books.from_dict(books.as_dict()) == books
    assert books.metrics()["books/failed"] == 1.0

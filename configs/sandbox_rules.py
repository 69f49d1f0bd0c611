"""The rules of a sandbox that is a service: an address and one place for the token, or neither."""

import re
from collections.abc import Iterator

from configs.run import AnyRun

_URL = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+/?")


def sandbox_service_has_a_token(run: AnyRun) -> Iterator[str]:
    """`url` comes with exactly one of `token_file` and `token_env`, and without `workers`, which are the service's."""
    if not run.rewards:
        return
    section, key = run.rewards.sandbox, "rewards.sandbox"
    places = [name for name in ("token_file", "token_env") if getattr(section, name) is not None]
    if section.url is None:
        for name in places:
            value = getattr(section, name)
            yield f"{key}.{name} = {value}: there is no service to show it to; set {key}.url, or remove the key"
        return
    if not _URL.fullmatch(section.url):
        yield f"{key}.url = {section.url}: this is no address of a service; write one such as http://sandbox:8400"
    if len(places) != 1:
        yield (
            f"{key}.url = {section.url}: the service asks for a token, and {' and '.join(places) or 'nothing'} says "
            f"where it is; set {key}.token_file or {key}.token_env, one of them"
        )
    if section.workers is not None:
        yield (
            f"{key}.workers = {section.workers}: the service at {key}.url has its own; remove the key and start the "
            "service with --workers"
        )

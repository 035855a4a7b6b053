"""What the options of all commands share.

Each has an environment default, `WRAITH_<COMMAND>_<OPTION>`; a value `@FILE` is read from that
file; and `--config FILE.toml` fills in what neither says.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import rich_click as click

F = TypeVar("F", bound=Callable[..., Any])


class Option(click.RichOption):
    """An option whose value may stand in a file: `--socks5-auth @/run/secrets/proxy`."""

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """Read `@FILE` before anything else looks at the value."""
        if not self.is_flag:
            if isinstance(value, str):
                value = self._expand(ctx, value)
            elif isinstance(value, list | tuple):
                value = type(value)(self._expand(ctx, item) for item in value)
        return super().process_value(ctx, value)

    def _expand(self, ctx: click.Context, value: Any) -> Any:
        if not isinstance(value, str) or not value.startswith("@"):
            return value
        try:
            return Path(value[1:]).expanduser().read_text(encoding="utf-8").strip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise click.BadParameter(
                f"cannot read {value[1:]}: {reason.lower()}", ctx=ctx, param=self
            ) from None


class Line(click.ParamType):  # type: ignore[type-arg]
    """A text with spaces in it; several of them in one variable are separated by newlines."""

    name = "text"
    envvar_list_splitter = "\n"


def option(*names: str, **settings: Any) -> Callable[[F], F]:
    """A `click.option` with what every option of Wraith can do; its default is shown."""
    settings.setdefault("show_default", True)
    return click.option(*names, cls=Option, **settings)


def apply(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator, in the order in which `--help` shows them."""

    def decorate(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def _load_config(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is None:
        return
    try:
        document = tomllib.loads(Path(value).expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise click.BadParameter(f"cannot read {value}: {reason}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{value} is not TOML: {error}") from None
    ctx.default_map = _defaults(ctx, value, document, ctx.params.get("profile"))


def _defaults(
    ctx: click.Context, source: str, document: dict[str, Any], profile: str | None
) -> dict[str, Any]:
    profiles = document.pop("profiles", {})
    if profile is not None and profile not in profiles:
        known = ", ".join(profiles) or "none"
        raise click.BadParameter(f"{source} has no profile {profile!r} (it has: {known})")
    values = {**document, **(profiles[profile] if profile is not None else {})}
    names = _names(ctx.command)
    defaults = {}
    for key, item in values.items():
        name = names.get(key.replace("_", "-"))
        if name is None:
            raise click.BadParameter(
                f"{source} sets {key!r}, which is no option of {ctx.info_name}"
            )
        defaults[name] = item
    return defaults


def _names(command: click.Command) -> dict[str, str]:
    """The options by their long names without dashes, as they stand in a file."""
    return {
        text.removeprefix("--"): parameter.name or ""
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for text in parameter.opts
        if text.startswith("--") and text not in ("--config", "--profile")
    }


common_options = apply(
    option(
        "--profile",
        metavar="NAME",
        is_eager=True,
        help="Named profile of the configuration file.",
    ),
    option(
        "--config",
        metavar="FILE.toml",
        is_eager=True,
        expose_value=False,
        callback=_load_config,
        help="Take what is not given here from this file.",
    ),
    option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        default="info",
        help="How much to say on stderr.",
    ),
    option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        help="Lines for people, or for programs.",
    ),
)

ready_option = option(
    "--ready-fd",
    type=int,
    metavar="N",
    help="Write one line of JSON to this descriptor when ready.",
)

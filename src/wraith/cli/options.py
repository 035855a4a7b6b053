"""What the options of all commands share.

Each has an environment default, `WRAITH_<COMMAND>_<OPTION>`; a value `@FILE` is read from that
file; and `--config FILE.toml` fills in what neither says. Each command knows its `--version`, and
can be asked again what its arguments, its environment and its files say by now.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import rich_click as click

from wraith._version import __version__

F = TypeVar("F", bound=Callable[..., Any])

_ARGUMENTS = "wraith.cli.arguments"

TRANSPORTS = "tcp|tls|iroh"

version_option = click.version_option(__version__, prog_name="wraith")


class Command(click.RichCommand):
    """A command that keeps its arguments, so that they can be read again."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's; it consumes the list, so a copy is kept."""
        ctx.meta[_ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)


def command(groups: list[dict[str, Any]]) -> Callable[[Callable[..., Any]], click.Command]:
    """A command of ours, its options shown by `groups`."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        name = f"wraith {function.__name__}"
        described = click.rich_config({"option_groups": {name: groups}})(version_option(function))
        made: click.Command = click.command(cls=Command)(described)
        return made

    return decorate


def read_again(ctx: click.Context) -> dict[str, Any]:
    """The values of a running command, as arguments, environment and files give them now.

    Raises `click.ClickException` where they can no longer be used.
    """
    arguments = list(ctx.meta[_ARGUMENTS])
    with ctx.command.make_context(ctx.info_name, arguments, parent=ctx.parent) as fresh:
        return dict(fresh.params)


class Option(click.RichOption):
    """An option whose value may stand in a file: `--socks5-auth @/run/secrets/proxy`.

    Its default in the environment is named after the long option; `envvar` adds other names.
    """

    @property
    def long_name(self) -> str:
        """The name without dashes, as it stands in a configuration file: `remote-forward`."""
        return next(text.removeprefix("--") for text in self.opts if text.startswith("--"))

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """The variable of this very command first, then those that commands share."""
        if ctx.auto_envvar_prefix is not None:
            name = self.long_name.replace("-", "_").upper()
            value = os.environ.get(f"{ctx.auto_envvar_prefix}_{name}")
            if value:
                return value
        return click.Parameter.resolve_envvar_value(self, ctx)

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


def transport_option(text: str) -> Callable[[F], F]:
    """`--transport`: not a fixed choice, since other distributions may bring some."""
    return option("--transport", metavar=TRANSPORTS, default="tcp", help=text)


def iroh_options(key: str) -> Callable[[F], F]:
    """`--iroh-relay` and `--iroh-key`; `key` is the default of the latter, in words."""
    return apply(
        option(
            "--iroh-relay",
            metavar="URL|disabled",
            show_default="public relays",
            help="Relay by which iroh peers find each other.",
        ),
        option(
            "--iroh-key",
            metavar="PATH",
            show_default=key,
            help="Secret key of the iroh endpoint; it makes the id.",
        ),
    )


def apply(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator, in the order in which `--help` shows them."""

    def decorate(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


class ConfigOption(Option):
    """`--config`: fills in what stands neither in the arguments nor in the environment.

    Which profile of it is meant may stand before or after it, so that is looked up here.
    """

    def handle_parse_result(
        self, ctx: click.Context, opts: Mapping[str, Any], args: list[str]
    ) -> tuple[Any, list[str]]:
        """Read the file, before any option that is not eager is asked for its default."""
        value, args = super().handle_parse_result(ctx, opts, args)
        profile = next(item for item in ctx.command.params if item.name == "profile")
        wanted = profile.consume_value(ctx, opts)[0]
        name = wanted if isinstance(wanted, str) else None
        if isinstance(value, str):
            ctx.default_map = _defaults(ctx, value, _read_config(value), name)
        elif name is not None:
            raise click.UsageError("--profile needs the --config FILE that it is in", ctx)
        return value, args


def _read_config(source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(source).expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise click.UsageError(f"cannot read {source}: {reason}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{source} is not TOML: {error}") from None


def _defaults(
    ctx: click.Context, source: str, document: dict[str, Any], profile: str | None
) -> dict[str, Any]:
    values = {**document, **_profile(source, document.pop("profiles", {}), profile)}
    values.pop("profiles", None)
    options = {
        item.long_name: item
        for item in ctx.command.params
        if isinstance(item, Option) and item.name not in ("config", "profile")
    }
    defaults: dict[str, Any] = {}
    for key, value in values.items():
        option = options.get(key.replace("_", "-"))
        if option is None:
            raise click.UsageError(f"{source} sets {key!r}, which is no option of {ctx.info_name}")
        defaults[option.name or ""] = _value(source, key, value, option)
    return defaults


def _profile(source: str, profiles: Any, name: str | None) -> dict[str, Any]:
    if name is None:
        return {}
    chosen = profiles.get(name) if isinstance(profiles, dict) else None
    if not isinstance(chosen, dict):
        known = ", ".join(profiles) if isinstance(profiles, dict) and profiles else "none"
        raise click.UsageError(f"{source} has no profile {name!r} (it has: {known})")
    return chosen


def _value(source: str, key: str, value: Any, option: Option) -> Any:
    """A value of the file as the option takes it; one of a repeatable option may stand alone."""
    items = value if isinstance(value, list) else [value]
    if (isinstance(value, list) and not option.multiple) or not all(
        isinstance(item, bool if option.is_flag else str | int | float)
        and isinstance(item, bool) is bool(option.is_flag)
        for item in items
    ):
        raise click.UsageError(f"{source} sets {key!r} to something that it cannot be")
    return items if option.multiple else value


common_options = apply(
    option(
        "--profile",
        metavar="NAME",
        is_eager=True,
        expose_value=False,
        help="Named profile of the configuration file.",
    ),
    click.option(
        "--config",
        cls=ConfigOption,
        metavar="FILE.toml",
        is_eager=True,
        expose_value=False,
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

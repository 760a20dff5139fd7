"""Row-level security on the tables that an organisation owns, on PostgreSQL: the fence behind the product's one policy.

A query that forgets to ask whose rows it may read gets those of its row scope (`jobs.row_scope`), and none without one;
a row of somebody else is neither written nor changed. Each room names its tables here: those that organisations own,
with what makes a row their own, and the others with the reason. As every guard this is a fence, not the proof, and it
binds neither superusers nor who may set the scope: docs/decisions/0006-row-level-security.md.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.apps import apps
from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from compliance.jobs import row_scope

_POLICY: Final = "row_scope"
_FUNCTION: Final = "meterproof_sees_"
# NULLIF: once a setting of a transaction is over it is the empty text on that connection, no longer NULL.
_WORDS: Final = f"string_to_array(NULLIF(current_setting('{row_scope.SETTING}', true), ''), ',')"


@dataclass(frozen=True, slots=True)
class Owned:
    """A table whose rows belong to organisations, by a condition over `columns`, which are $1, $2 and so on there.
    `everywhere` are the actions by which some read everybody's rows.
    """

    label: str
    columns: tuple[str, ...]
    condition: str
    everywhere: tuple[str, ...]


_owned: dict[str, Owned] = {}
_not_owned: dict[str, str] = {}


def own(model: type[models.Model], *columns: str, everywhere: Sequence[str] = (), shared: str = "") -> None:
    """Let the rows of `model` belong to the organisation in the first of `columns`. For AppConfig.ready.

    `shared` is a condition under which others see a row too. It names columns by $1, $2 and so on, tables as
    `{app.Model}` and the words of the scope as `{words}`.
    """
    whole = ",".join([row_scope.EVERYTHING, *(f"*{action}" for action in everywhere)])
    condition = f"{_WORDS} && ('{{{whole}}}'::text[] || $1::text)"
    if shared:
        condition += f" OR {shared.replace('{words}', _WORDS)}"
    _owned[model._meta.label] = Owned(model._meta.label, columns, condition, tuple(everywhere))


def own_through(model: type[models.Model], column: str, parent: type[models.Model]) -> None:
    """Let the rows of `model` belong to whoever owns the row of `parent` whose key stands in `column`."""
    key = parent._meta.pk.column
    owner = f"EXISTS (SELECT 1 FROM {{{parent._meta.label}}} WHERE {key} = $1)"  # noqa: S608 (names of ours)
    condition = f"{_WORDS} && '{{{row_scope.EVERYTHING}}}'::text[] OR {owner}"
    _owned[model._meta.label] = Owned(model._meta.label, (column,), condition, ())


def leave(reason: str, *labels: str) -> None:
    """Say why no organisation owns the rows of these models: `app.Model`, or `app` for all others there."""
    _not_owned.update(dict.fromkeys(labels, reason))


def owned() -> list[Owned]:
    """The tables that organisations own, in the order of their names."""
    return [_owned[label] for label in sorted(_owned)]


def reason_against(model: type[models.Model]) -> str | None:
    """Why no organisation owns the rows of `model`; None if one does, or if nobody said."""
    if model._meta.label in _owned:
        return None
    return _not_owned.get(model._meta.label) or _not_owned.get(model._meta.app_label)


def actions_everywhere() -> frozenset[str]:
    """All actions by which some read everybody's rows."""
    return frozenset(action for table in _owned.values() for action in table.everywhere)


def install(using: str) -> None:
    """Put up the policies that are not there as they must be, and take down any other on those tables."""
    connection = connections[using]
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        expected = list(_expected(connection, cursor))
        standing = _standing(cursor, expected)
        for fence in expected:
            if standing[fence.table] != fence.fingerprint:
                for statement in fence.statements(standing[fence.table]):
                    cursor.execute(statement)


def missing(using: str) -> list[str]:
    """The tables of organisations whose rows the database does not hold against the scope as it must."""
    connection = connections[using]
    if connection.vendor != "postgresql":
        return []
    with connection.cursor() as cursor:
        expected = list(_expected(connection, cursor))
        standing = _standing(cursor, expected)
    return [f"{fence.table}: row-level security" for fence in expected if standing[fence.table] != fence.fingerprint]


def is_bypassed(using: str = "default") -> bool:
    """Whether the role that we are connected as gets past all policies: a superuser, or one with BYPASSRLS."""
    connection = connections[using]
    if connection.vendor != "postgresql":
        return False
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")
        return bool(cursor.fetchone()[0])


@dataclass(frozen=True, slots=True)
class _Fence:
    """The policy that one table must have, and the function that it asks."""

    schema: str
    table: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    body: str

    @property
    def function(self) -> str:
        return f"{_FUNCTION}{self.table}"

    @property
    def call(self) -> str:
        """As PostgreSQL writes it."""
        return f"{self.function}({', '.join(self.columns)})"

    @property
    def fingerprint(self) -> "_Standing":
        policy = (_POLICY, "*", True, True, self.call, self.call)
        function = (self.function, self.body, "sql", "s", False, None)
        return _Standing(is_enabled=True, is_forced=True, policies=(policy,), functions=(function,))

    def statements(self, standing: "_Standing") -> Iterator[str]:
        """What puts it in the place of what is `standing`."""
        table = f'"{self.schema}"."{self.table}"'
        for name, *_ in standing.policies:
            quoted = str(name).replace('"', '""')  # somebody else may have named it
            yield f'DROP POLICY "{quoted}" ON {table}'
        yield (
            f'CREATE OR REPLACE FUNCTION "{self.schema}".{self.function}({", ".join(self.types)}) '
            f"RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $body${self.body}$body$"
        )
        yield f"CREATE POLICY {_POLICY} ON {table} USING ({self.call}) WITH CHECK ({self.call})"
        yield f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"
        yield f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY"  # else it does not bind the owner of the table


@dataclass(slots=True)
class _Standing:
    """What the database has for one table: both switches, every policy, every function of that name."""

    is_enabled: bool
    is_forced: bool
    policies: tuple[tuple[Any, ...], ...] = ()
    functions: tuple[tuple[Any, ...], ...] = ()


def _expected(connection: BaseDatabaseWrapper, cursor: CursorWrapper) -> Iterator[_Fence]:
    """Of every table of organisations that is there. What a function reads is named with its schema: pg_dump looks for
    nothing in a search path.
    """
    cursor.execute(
        "SELECT c.relname, n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname = ANY (current_schemas(false))"
    )
    schemas: dict[str, str] = dict(cursor.fetchall())
    for table in owned():
        model = apps.get_model(table.label)
        if model._meta.db_table not in schemas:
            continue
        types = {str(field.column): str(field.db_type(connection)) for field in model._meta.concrete_fields}
        yield _Fence(
            schemas[model._meta.db_table],
            model._meta.db_table,
            table.columns,
            tuple(types[column].partition("(")[0] for column in table.columns),
            f"SELECT {_with_tables(table.condition, schemas)}",
        )


def _with_tables(condition: str, schemas: dict[str, str]) -> str:
    for model in apps.get_models():
        table = model._meta.db_table
        condition = condition.replace(f"{{{model._meta.label}}}", f'"{schemas.get(table, "public")}"."{table}"')
    return condition


def _standing(cursor: CursorWrapper, expected: Sequence[_Fence]) -> dict[str, _Standing]:
    tables = [f'"{fence.schema}"."{fence.table}"' for fence in expected]
    cursor.execute(
        "SELECT relname, relrowsecurity, relforcerowsecurity FROM pg_class WHERE oid = ANY (%s::regclass[])", [tables]
    )
    switches = {table: (enabled, forced) for table, enabled, forced in cursor.fetchall()}
    cursor.execute(
        "SELECT c.relname, p.polname, p.polcmd::text, p.polpermissive, p.polroles = '{0}'::oid[], "
        "pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid) FROM pg_policy p "
        "JOIN pg_class c ON c.oid = p.polrelid WHERE p.polrelid = ANY (%s::regclass[]) ORDER BY p.polname",
        [tables],
    )
    policies: dict[str, tuple[tuple[Any, ...], ...]] = defaultdict(tuple)
    for table, *policy in cursor.fetchall():
        policies[table] += (tuple(policy),)
    cursor.execute(
        "SELECT p.proname, p.prosrc, l.lanname, p.provolatile::text, p.prosecdef, p.proconfig FROM pg_proc p "
        "JOIN pg_language l ON l.oid = p.prolang WHERE p.proname = ANY (%s)",
        [[fence.function for fence in expected]],
    )
    functions: dict[str, tuple[tuple[Any, ...], ...]] = defaultdict(tuple)
    for row in cursor.fetchall():
        functions[row[0]] += (row,)
    return {
        fence.table: _Standing(*switches[fence.table], policies[fence.table], functions[fence.function])
        for fence in expected
    }

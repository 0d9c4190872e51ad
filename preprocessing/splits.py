"""Who is trained on and who is examined: train, validation and test without the same recording, source, day, site or sound on two sides.

Every function takes a table (recordings or windows) and returns assignments as columns beside it, "train", "validation" or "test" for each row:

    folds = grouped_folds(table, ["source", "day"], n_folds=5, stratify="species")     # columns fold_0 ... fold_4
    for name in folds:
        train = table[folds[name] == "train"]

Rows of one group stay together. Given several columns, rows that agree in ANY of them are one group, and so on through chains (two sources that
share a recording are one): `joined_groups`, which also joins recordings in which `preprocessing.duplicates` found the same sound. The
same seed gives the same assignment. `rows_at_random` ignores groups; its columns are called leak_0, leak_1, ..., because that is what it measures.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

TRAIN, VALIDATION, TEST = "train", "validation", "test"
TRIES = 20  # orders of the groups that are tried; the best balanced assignment is kept


def joined_groups(table: pd.DataFrame, columns: str | Sequence[str], same: pd.DataFrame | None = None, name: str = "recording") -> pd.Series:
    """Number of each row's group: rows that share a value in any of the columns belong together, directly or through others.

    Parameters
    ----------
    same : pairs `a`, `b` (of `find_duplicates`) of values of the column `name` that belong together too.

    Raises
    ------
    ValueError
        for a column that is missing, or a row without a value in one.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    columns = [columns] if isinstance(columns, str) else list(columns)
    if same is not None and name not in columns:
        columns = [*columns, name]
    if not columns:
        raise ValueError("no column to group by; name at least one, e.g. recording")
    _check_columns(table, columns)
    rows, nodes, count = [], [], len(table)
    for column in columns:
        codes, values = pd.factorize(table[column])
        if (codes < 0).any():
            raise ValueError(f"group column {column}: {int((codes < 0).sum())} rows have no value, the first is row {table.index[codes < 0][0]}; "
                             "fill it in, a row whose group is unknown may leak")
        rows.append(np.arange(len(table))), nodes.append(codes + count)
        if same is not None and column == name:
            first, second = (pd.Index(values).get_indexer(same[key]) for key in ("a", "b"))
            known = (first >= 0) & (second >= 0)
            rows.append(first[known] + count), nodes.append(second[known] + count)
        count += len(values)
    row, node = np.concatenate(rows), np.concatenate(nodes)
    _, label = connected_components(coo_array((np.ones(len(row), bool), (row, node)), shape=(count, count)), directed=False)
    return pd.Series(pd.factorize(label[:len(table)])[0], index=table.index, name="group")


def fold_numbers(table: pd.DataFrame, group: str | Sequence[str], n_folds: int, stratify: str | Sequence[str] | None = None, seed: int = 0,
                 same: pd.DataFrame | None = None, complete: bool = True) -> pd.Series:
    """Fold of each row, 0 to n_folds - 1: groups whole, labels spread over the folds as evenly as the groups allow.

    Groups are dealt out one by one, those with the rarest label first, each to the fold that lacks its labels most (after Sechidis, Tsoumakas and
    Vlahavas 2011, for groups); of `TRIES` random orders the best assignment is kept.

    Parameters
    ----------
    stratify : a column of label names, or several columns of 0/1 (1: the row has the label; NaN: unknown); None: only rows are balanced.
    same : as for `joined_groups`.
    complete : every fold must hold every label. False where figures are pooled over folds, or for a label from too few sources.

    Raises
    ------
    ValueError
        where a label occurs in fewer groups than there are folds, naming it and how many there are.
    """
    if n_folds < 2:
        raise ValueError(f"n_folds is {n_folds}; there must be at least 2")
    if len(table) == 0:
        raise ValueError("the table is empty; there is nothing to split")
    groups = joined_groups(table, group, same).to_numpy()
    counts, labels = _label_counts(table, groups, stratify)
    by = group if isinstance(group, str) else " or ".join(group)
    if len(counts) < n_folds:
        raise ValueError(f"{n_folds} folds need at least {n_folds} groups by {by}, there are {len(counts)}; take fewer folds or a finer group")
    for label, have in zip(labels, (counts > 0).sum(axis=0)):
        if complete and have < n_folds:
            raise ValueError(f"label {label} occurs in {have} {'group' if have == 1 else 'groups'} by {by}, {n_folds} folds need {n_folds}; "
                             "take fewer folds, merge the label with another, leave it out, add recordings of it, or allow it with complete=False")
    rng = np.random.default_rng(seed)
    fold = _best_deal(counts, n_folds, rng)
    lacking = _imbalance(counts, fold, n_folds)[0]
    if complete and lacking:
        raise ValueError(f"no way was found to give each of {n_folds} folds every label ({lacking} are missing somewhere), for labels share groups by {by}; "
                         "take fewer folds or a finer group, or allow it with complete=False")
    return pd.Series(fold[groups], index=table.index, name="fold")


def grouped_folds(table: pd.DataFrame, group: str | Sequence[str], n_folds: int, stratify: str | Sequence[str] | None = None, seed: int = 0,
                  same: pd.DataFrame | None = None, complete: bool = True, validation_group: str | Sequence[str] | None = None) -> pd.DataFrame:
    """Columns fold_0, fold_1, ...: in fold_k the k-th fold is test, the next one validation, the others train.

    Parameters
    ----------
    group, n_folds, stratify, seed, same, complete : as for `fold_numbers`.
    validation_group : cut the validation rows out of the training folds by this finer group instead (a column or several, e.g. "recording"; an n_folds-th of
        them): for two folds, or where a label has too few groups to spare one. Thresholds then come from sources that were trained on.

    Raises
    ------
    ValueError
        as `fold_numbers`; for two folds without `validation_group`.
    """
    if n_folds < 3 and validation_group is None:
        raise ValueError(f"{n_folds} folds leave nothing to train on beside test and validation; take 3 or more, or name a validation_group, e.g. recording")
    fold = fold_numbers(table, group, n_folds, stratify, seed, same, complete)
    return pd.DataFrame({f"fold_{k}": _roles(table, fold == k, fold == (k + 1) % n_folds, validation_group, 1 / n_folds, stratify, seed + k)
                         for k in range(n_folds)}, index=table.index)


def leave_one_out(table: pd.DataFrame, column: str, stratify: str | Sequence[str] | None = None, seed: int = 0,
                  validation_group: str | Sequence[str] | None = None, share: float = 0.2) -> pd.DataFrame:
    """A column for each value of `column` (a site, say), named by it: that value's rows are test, those of the next value validation, the others train.

    Parameters
    ----------
    validation_group : cut validation out of the other values' rows by this group instead (a `share` of it), which two values need.
    """
    _check_columns(table, [column])
    if table[column].isna().any():
        raise ValueError(f"{column}: {int(table[column].isna().sum())} rows have no value; fill it in, or leave these rows out")
    values = sorted(table[column].unique())
    if len(values) < (2 if validation_group else 3):
        raise ValueError(f"{column} has {len(values)} {'value' if len(values) == 1 else 'values'} ({', '.join(map(str, values))}); "
                         + ("leaving one out needs two" if validation_group else "test, validation and training need three, or name a validation_group"))
    out = {}
    for k, value in enumerate(values):
        nxt = table[column] == values[(k + 1) % len(values)]
        out[str(value)] = _roles(table, table[column] == value, nxt, validation_group, share, stratify, seed + k)
    return pd.DataFrame(out, index=table.index)


def held_out_in_time(table: pd.DataFrame, column: str = "start_utc", share: float = 0.2, validation_share: float | None = None,
                     group: str | Sequence[str] | None = None) -> pd.DataFrame:
    """One column, `in_time`: the last `share` of the rows is test, the `validation_share` (the same by default) before it validation, the rest train.

    Parameters
    ----------
    column : a time or a number. Rows of one instant stay together.
    group : groups that stay whole (recording, day); a group counts by its first row's time.

    Raises
    ------
    ValueError
        for rows without a time; shares that leave nothing to train on; where a whole part would be empty because so many rows share an instant.
    """
    validation_share = share if validation_share is None else validation_share
    if not (0 < share < 1 and 0 <= validation_share < 1 and share + validation_share < 1):
        raise ValueError(f"share {share} and validation_share {validation_share} must be above 0 and leave something to train on")
    _check_columns(table, [column])
    if table[column].isna().any():
        raise ValueError(f"{column}: {int(table[column].isna().sum())} of {len(table)} rows have no time; give their recordings start times, or leave them out")
    time = table[column] if group is None else table[column].groupby(joined_groups(table, group)).transform("min")
    before = time.rank(method="min").to_numpy() - 1  # rows that are earlier
    from_test, from_validation = (round(len(table) * (1 - part)) for part in (share, share + validation_share))
    split = np.where(before >= from_test, TEST, np.where(before >= from_validation, VALIDATION, TRAIN))
    wanted = {TRAIN, TEST} | ({VALIDATION} if validation_share else set())
    if set(split) != wanted:
        raise ValueError(f"{column}: no rows for {' and '.join(sorted(wanted - set(split)))}; too many share one {'instant' if group is None else 'group'}, take other shares or a finer group")
    return pd.DataFrame({"in_time": split}, index=table.index)


def rows_at_random(table: pd.DataFrame, n_folds: int, stratify: str | Sequence[str] | None = None, seed: int = 0) -> pd.DataFrame:
    """Columns leak_0, leak_1, ...: as `grouped_folds`, but each row on its own. THE LEAK: windows of one recording stand on both sides, and the figure
    that comes of it says how well a network remembers. Only to be shown beside the grouped one."""
    if not 3 <= n_folds <= len(table):
        raise ValueError(f"{n_folds} folds of {len(table)} rows: take 3 or more, and no more than there are rows")
    has, _ = _labels(table, stratify)
    alike = pd.factorize(pd.Series(map(tuple, has)))[0]
    order = np.random.default_rng(seed).permutation(len(table))
    order = order[np.argsort(alike[order], kind="stable")]
    fold = np.empty(len(table), int)
    fold[order] = np.arange(len(table)) % n_folds  # rows of the same labels are dealt out in turn
    return pd.DataFrame({f"leak_{k}": _roles(table, fold == k, fold == (k + 1) % n_folds) for k in range(n_folds)}, index=table.index)


def _roles(table, test, validation, validation_group=None, share=0.2, stratify=None, seed=0) -> np.ndarray:
    """Role of each row; with a `validation_group`, validation is an even share of those of the rest."""
    test = np.asarray(test)
    if validation_group is None:
        return np.where(test, TEST, np.where(np.asarray(validation), VALIDATION, TRAIN))
    rest = table[~test]
    groups = joined_groups(rest, validation_group).to_numpy()
    counts, _ = _label_counts(rest, groups, stratify)
    parts = max(2, round(1 / share))
    if len(counts) < 2:
        raise ValueError(f"validation_group {validation_group}: the training rows are one single group; take a finer one")
    chosen = _best_deal(counts, min(parts, len(counts)), np.random.default_rng(seed))
    roles = np.full(len(table), TEST, object)
    roles[~test] = np.where(chosen[groups] == 0, VALIDATION, TRAIN)
    return roles.astype(str)


def _labels(table: pd.DataFrame, stratify) -> tuple[np.ndarray, list[str]]:
    """(rows, labels) 1 where the row has the label, and the labels: those that occur."""
    if stratify is None:
        return np.empty((len(table), 0)), []
    _check_columns(table, [stratify] if isinstance(stratify, str) else stratify)
    has = pd.get_dummies(table[stratify]) if isinstance(stratify, str) else table[list(stratify)] > 0
    has = has.loc[:, has.any(axis=0)]
    return has.to_numpy(float), list(map(str, has.columns))


def _label_counts(table: pd.DataFrame, groups: np.ndarray, stratify) -> tuple[np.ndarray, list[str]]:
    """(groups, labels + 1) rows of each label in each group, and in the last column all its rows; the labels."""
    has, labels = _labels(table, stratify)
    counts = np.zeros((groups.max() + 1, len(labels) + 1))
    np.add.at(counts, groups, np.column_stack([has, np.ones(len(table))]))
    return counts, labels


def _best_deal(counts: np.ndarray, n_folds: int, rng: np.random.Generator) -> np.ndarray:
    """Of several orders of dealing out (fewer where there are many groups, which even out by themselves) the most even."""
    tries = max(1, min(TRIES, 20000 // len(counts)))
    return min((_deal(counts, n_folds, rng) for _ in range(tries)), key=lambda fold: _imbalance(counts, fold, n_folds))


def _deal(counts: np.ndarray, n_folds: int, rng: np.random.Generator) -> np.ndarray:
    """Fold of each group, dealt out in a random order."""
    share = counts / counts.sum(axis=0)
    rarest = np.where(counts > 0, share, 0).max(axis=1)  # how much of some label the group holds: the big ones first
    order = np.lexsort((rng.random(len(counts)), -np.round(rarest * rng.uniform(0.7, 1.3, len(counts)), 6)))
    have, fold = np.zeros((n_folds, counts.shape[1])), np.zeros(len(counts), int)
    for g in order:
        lacks = (1 / n_folds - have) @ share[g]  # how much each fold lacks of what the group holds
        fold[g] = np.argmax(lacks - 1e-9 * have[:, -1])  # of equals the one with the fewest rows
        have[fold[g]] += share[g]
    return fold


def _imbalance(counts: np.ndarray, fold: np.ndarray, n_folds: int) -> tuple[int, float]:
    """Labels that a fold lacks altogether, then the squared distance from an even spread."""
    have = np.zeros((n_folds, counts.shape[1]))
    np.add.at(have, fold, counts / counts.sum(axis=0))
    return int((have == 0).sum()), float(((have - 1 / n_folds) ** 2).sum())


def _check_columns(table: pd.DataFrame, columns) -> None:
    for column in columns:
        if column not in table:
            raise ValueError(f"the table has no column {column}; it has {', '.join(map(str, table.columns))}")

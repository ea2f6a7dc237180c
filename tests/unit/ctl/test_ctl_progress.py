"""Whom a waiting command is about."""

import pytest

from hiod.ctl import progress

ROW = {"name": "web-1", "spec": "web", "labels": {"tier": "front", "zone": "a"}}


@pytest.mark.parametrize(
    ("chosen", "meant"),
    [
        ({}, True),
        ({"names": ["web-1"]}, True),
        ({"names": ["db", "web"]}, True),
        ({"names": ["w*"]}, True),
        ({"names": ["db", "web-2"]}, False),
        ({"labels": {"tier": "front"}}, True),
        ({"labels": {"tier": "front", "zone": "b"}}, False),
        ({"names": ["db"], "labels": {"tier": "front"}}, False),
    ],
)
def test_hands_are_meant_by_name_base_glob_and_label(chosen, meant):
    assert progress._is_meant(ROW, chosen) is meant

from __future__ import annotations

import pytest

from sandbox.runner.languages import LANGUAGES, source_name


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("console.log(1)", "index.js"),
        ("import fs from 'fs'", "index.mjs"),
        ("import 'fs'", "index.mjs"),
        ("import{a}from 'x'", "index.mjs"),
        ("import * as x from 'x'", "index.mjs"),
        ("// first\nimport fs from 'node:fs'\n", "index.mjs"),
        ("export const a = 1", "index.mjs"),
        ("const a = 1\nawait a", "index.mjs"),
        ("const { a } = await b()", "index.mjs"),
        ("import('fs').then(console.log)", "index.js"),
        ("const fs = require('fs')", "index.js"),
        ("const fs = require('fs')\nimport x from 'y'", "index.js"),
        ("module.exports = 1", "index.js"),
        ("console.log(__dirname)", "index.js"),
        ("async function f() {\n  await g()\n}\nf()", "index.js"),
        ("const f = async () => {\n  const x = await g()\n}", "index.js"),
        ("const important = 1", "index.js"),
        ("importantThing()\nexporting()", "index.js"),
        ("", "index.js"),
    ],
)
def test_node_is_told_what_kind_of_source_it_is(code: str, name: str) -> None:
    assert source_name(LANGUAGES["js"], code.encode()) == name


def test_other_sources_have_one_name() -> None:
    code = "import x from 'y'"
    assert source_name(LANGUAGES["py"], code.encode()) == "main.py"
    assert source_name(LANGUAGES["bash"], code.encode()) == "script.sh"

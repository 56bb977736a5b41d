from datetime import UTC, datetime

import pytest
from msgspec.structs import fields

from engine.check.findings import known_vocabularies
from engine.errors import CatalogErrors
from engine.load import plan
from engine.load_csv import _type_at
from engine.load_files import open_source
from engine.store import open_store

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)

TABLE = """\
kind,id,name,domains,advertiser,cpm_micros,flight.end,flight.daily_budget_micros,targeting.topics.include,\
targeting.rule,house,keywords,campaign,format,headline,landing_url,size
advertiser,acme,"Acme, Inc.",acme.example;shop.example,,,,,,,,,,,,,
campaign,rain,Rain,,acme,1500000,2027-01-01T00:00:00+01:00,5000000,483;210,"{""any"":[{""weather"":[""rain""]},\
{""wind_ms"":{""at_least"":8}}]}",false,Umbrella; Rain Coat,,,,,

creative,rain-1,,,,,,,,,,,rain,native,"Stay, dry",https://shop.example/dry,
"""


def loaded(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode(encoding))
    store = open_store(f"sqlite:///{tmp_path / 'w.db'}")
    try:
        with plan(open_source(path), store, known_vocabularies(), NOW) as planned:
            return {change.id: change.after for change in planned.changes()}
    finally:
        store.close()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_table_is_read_by_its_header(tmp_path, encoding):
    made = loaded(tmp_path, TABLE, encoding)
    assert made["acme"].domains == ("acme.example", "shop.example")
    rain = made["rain"]
    assert (rain.cpm_micros, rain.flight.daily_budget_micros, rain.house) == (1_500_000, 5_000_000, False)
    assert rain.targeting.topics.include == ("483", "210")
    assert rain.targeting.rule.any[1].wind_ms.at_least == 8
    assert rain.keywords == ("umbrella", "rain coat")
    assert made["rain-1"].headline == "Stay, dry"


def test_a_cell_of_text_is_text_whatever_it_looks_like(tmp_path):
    made = loaded(tmp_path, "kind,id,name,domains\nadvertiser,a,[1],a.example\nadvertiser,b,{},b.example\n")
    assert [made[id].name for id in "ab"] == ["[1]", "{}"]


def test_numbers_of_a_list_are_read_as_numbers(tmp_path):
    table = """\
kind,id,name,domains,advertiser,cpm_micros,campaign,format,html,landing_url,size
advertiser,a,A,a.example,,,,,,,
campaign,c,C,,a,5,,,,,
creative,b,,,,,c,banner,<b>Dry</b>,https://a.example/dry,300;250
"""
    made = loaded(tmp_path, table)
    assert made["b"].size == (300, 250)


HEAD = "kind,id,name,advertiser,cpm_micros,flight.end,targeting.hours\nadvertiser,a,A,,,,\n"
FAULTY = [
    ("kind,id,name,id\n", "'id'", 1),
    ("id,name\nx,y\n", "(line)", 1),
    ("kind," + ",".join(f"c{n}" for n in range(1000)) + "\n", "(line)", 1),
    (HEAD + f"campaign,c,C,a,5,,{'[' * 100_000}\n", "targeting.hours", 3),
    (HEAD + "campaign,c,C,a,cheap,,\n", "cpm_micros", 3),
    (HEAD + "campaign,c,C,a,5,tomorrow,\n", "flight.end", 3),
    (HEAD + 'campaign,c,C,a,5,,"[{""start"":""26:00"",""end"":""01:00""}]"\n', "targeting.hours[0].start", 3),
    (HEAD + "campaign,c,C,a,5\n", "(line)", 3),
    (HEAD + 'campaign,c,"C"x,a,5,,\n', "(line)", 3),
    (HEAD + "banner,c,C,a,5,,\n", "kind", 3),
    ("kind,id,name,domain\nadvertiser,a,A,a.example\n", "(object)", 2),
    ("kind,id,flight,flight.end\ncampaign,c,{},2027-01-01T00:00:00Z\n", "flight", 2),
    ("kind,id,flight.end,flight\ncampaign,c,2027-01-01T00:00:00Z,never\n", "flight", 2),
    ("kind,id,size\ncreative,c,300;wide\n", "size[0]", 2),
    (HEAD + 'campaign,c,C,a,5,,"[{""start"":""06:00"",""start"":""07:00""}]"\n', "start", 3),
    ("kind,id,name,domains\nadvertiser,a,A\xff,a.example\n", "(line)", 2),
]


@pytest.mark.parametrize(("text", "field", "line"), FAULTY)
def test_what_is_wrong_is_told_by_line_and_column(tmp_path, text, field, line):
    with pytest.raises(CatalogErrors) as caught:
        loaded(tmp_path, text, "latin-1")
    assert (field, line) in [(error.field, error.line) for error in caught.value.errors]


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("kind;id;name\r\nadvertiser;a;A\r\n", "';'"),
        ("sep=;\r\nkind;id;name\r\n", "';'"),
        ("kind\tid\tname\nadvertiser\ta\tA\n", r"'\t'"),
    ],
)
def test_a_table_whose_cells_other_marks_part_is_told_of_them(tmp_path, text, mark):
    with pytest.raises(CatalogErrors) as caught:
        loaded(tmp_path, text, "utf-8-sig")
    (error,) = caught.value.errors
    assert (error.got, error.expected) == (f"cells parted by {mark}", "cells parted by commas")


def test_what_type_a_column_has_is_looked_up_once(tmp_path, monkeypatch):
    looked_up = []

    def noted(cls):
        looked_up.append(cls)
        return fields(cls)

    monkeypatch.setattr("engine.load_csv.fields", noted)
    _type_at.cache_clear()
    rows = "".join(
        f"creative,rain-{n},,,,,,,,,,,rain,native,Dry,https://shop.example/dry,\n" for n in range(2, 50)
    )
    assert len(loaded(tmp_path, TABLE + rows)) == 51
    assert len(looked_up) < 30

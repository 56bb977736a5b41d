from contexts.lexicon import Example, Lexicon
from contexts.senses import Senses
from contexts.taxonomy import content_taxonomy
from tests.world import WordEncoder

MUSIC, FISHING = "338", "511"


def senses(taught=(), said=None, examples=()):
    lexicon = Lexicon(examples=list(examples), said=said or {})
    made = Senses(WordEncoder(), content_taxonomy(), lexicon, dict(taught))
    made.prepare([("Bass", MUSIC), ("bass", FISHING), ("bass", "no topic")])
    return made


def page(text):
    return WordEncoder().encode([text])[0]


def test_a_word_stands_in_the_sense_that_the_rest_of_the_page_is_about():
    asked = [[MUSIC], [FISHING]]
    assert senses().nearest("bass", page("bass bass music entertainment"), asked) == 0
    assert senses().nearest(" BASS ", page("bass bass fishing sports"), asked) == 1


def test_what_was_taught_of_a_topic_counts_beside_its_name():
    taught = {FISHING: page("lure rod river")}
    assert senses(taught).nearest("bass", page("bass lure rod river"), [[MUSIC], [FISHING]]) == 1
    assert senses().nearest("bass", page("bass lure rod river sports"), [[MUSIC], [FISHING]]) == 1


def test_what_pages_of_a_topic_say_is_set_beside_the_word():
    asked = [[MUSIC], [FISHING]]
    quiet = page("bass trawler music")
    assert senses().nearest("bass", quiet, asked) == 0
    assert senses(said={FISHING: ["trawler net", "trawler quay"]}).nearest("bass", quiet, asked) == 1
    shown = [Example("trawler net", frozenset({FISHING})), Example("trawler", frozenset({FISHING}))]
    assert senses(examples=shown).nearest("bass", page("bass trawler trawler music"), asked) == 1
    assert senses().nearest("bass", page("bass trawler trawler music"), asked) == 0


def test_the_words_own_direction_decides_nothing():
    made = senses({MUSIC: page("bass bass bass bass")})
    assert made.nearest("bass", page("bass bass bass bass fishing"), [[MUSIC], [FISHING]]) == 1


def test_what_was_not_prepared_is_not_told():
    assert senses().nearest("model", page("model fashion"), [["552"], ["597"]]) is None

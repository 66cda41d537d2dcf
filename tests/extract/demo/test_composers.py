from keybed.extract.demo.composers import COMPOSERS, is_composed


def test_a_store_of_the_demos_music_is_known_by_its_composers():
    demo = [{"composer": name} for name in COMPOSERS.values()]
    assert is_composed(demo)
    assert is_composed(demo[:1])
    assert not is_composed([*demo, {"composer": "Bach"}])
    assert not is_composed([{"title": "no composer"}])
    assert not is_composed([])

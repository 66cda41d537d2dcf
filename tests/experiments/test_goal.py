from keybed.experiments.goal import goal_line


def test_the_line_of_a_goal():
    assert goal_line("rows/s a core", 14.62, 12, "at least") == "GOAL rows_s_a_core measured=14.62 target=12 PASS"
    assert goal_line("peak memory", 12.5, 12, "at most") == "GOAL peak_memory measured=12.5 target=12 FAIL"
    assert goal_line("r", 0.5, 0.5, "at least").endswith("PASS")
    assert goal_line("r", float("nan"), 0.5, "at most").endswith("FAIL")

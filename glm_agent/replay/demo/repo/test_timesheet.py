import unittest

from timesheet import Span, hours, merge, parse


class ParseTest(unittest.TestCase):
    def test_clock_times_become_minutes(self):
        self.assertEqual(parse("09:30-12:00"), Span(570, 720))

    def test_an_end_before_the_start_is_refused(self):
        with self.assertRaises(ValueError):
            parse("12:00-09:30")


class MergeTest(unittest.TestCase):
    def test_separate_spans_stay_apart(self):
        self.assertEqual(merge([Span(60, 90), Span(0, 30)]), [Span(0, 30), Span(60, 90)])

    def test_overlapping_and_touching_spans_are_joined(self):
        self.assertEqual(merge([Span(0, 40), Span(30, 60), Span(60, 90)]), [Span(0, 90)])

    def test_a_span_inside_another_changes_nothing(self):
        self.assertEqual(merge([Span(0, 90), Span(30, 60)]), [Span(0, 90)])


class HoursTest(unittest.TestCase):
    def test_people_are_added_up_separately(self):
        log = "ada 09:00-12:30 review\nbob 10:00-10:45 stand-up\n\nada 13:00-14:00 mail\n"
        self.assertEqual(hours(log), {"ada": 4.5, "bob": 0.75})

    def test_a_meeting_within_a_longer_block_costs_nobody_hours(self):
        self.assertEqual(hours("ada 09:00-17:00 project\nada 11:00-11:30 meeting"), {"ada": 8.0})


if __name__ == "__main__":
    unittest.main()

"""When people work: shifts of the factory, office hours, weekends and holidays."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from compliance.demo.parameters import Calendar

SATURDAY = 5
OFFICE_OPENS, OFFICE_CLOSES = time(7, 0), time(17, 0)


@dataclass(frozen=True, slots=True)
class WorkingHours:
    """Moves moments to where somebody is there to make them happen. All times are UTC."""

    calendar: Calendar

    def is_working_day(self, day: date) -> bool:
        """Monday to Friday, no holiday."""
        return day.weekday() < SATURDAY and f"{day:%m-%d}" not in self.calendar.holidays

    def next_working_day(self, day: date) -> date:
        """`day`, or the first working day after it."""
        while not self.is_working_day(day):
            day += timedelta(days=1)
        return day

    def working_day_before(self, day: date) -> date:
        """The last working day before `day`."""
        day -= timedelta(days=1)
        while not self.is_working_day(day):
            day -= timedelta(days=1)
        return day

    def office_hour(self, moment: datetime) -> datetime:
        """`moment` if somebody is at the desk then, else the next opening, some minutes in."""
        day = moment.date()
        if self.is_working_day(day) and OFFICE_OPENS <= moment.time() < OFFICE_CLOSES:
            return moment
        if moment.time() >= OFFICE_CLOSES:
            day += timedelta(days=1)
        opening = datetime.combine(self.next_working_day(day), OFFICE_OPENS, UTC)
        return opening + timedelta(minutes=5 + moment.minute)

    def shift_start(self, day: date, shift: int) -> datetime:
        """When shift number `shift` of `day` begins."""
        return datetime.combine(day, time.fromisoformat(self.calendar.shifts[shift]), UTC)

    @property
    def end(self) -> datetime:
        """The last moment of the simulation."""
        return datetime.combine(self.calendar.ends, time(18, 0), UTC)

    @property
    def start(self) -> datetime:
        """The first working moment."""
        return datetime.combine(self.calendar.starts, OFFICE_OPENS, UTC)

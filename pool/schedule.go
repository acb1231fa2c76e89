package pool

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/clade-vm/clade"
)

// A Schedule is sizes by day of the week and time of day, in the time zone of the
// moment it is asked about.
type Schedule []Entry

// An Entry changes the size at one time of day.
type Entry struct {
	Days   [7]bool // by time.Weekday
	Hour   int
	Minute int
	Size   int
}

var (
	entryForm = regexp.MustCompile(`^(?:(\S+)\s+)?([0-9]{1,2}):([0-9]{2})\s+size=([0-9]{1,5})$`)
	dayNames  = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
)

// ParseSchedule reads entries with semicolons between them: days, which may be left
// out for every day, a time and a size, as in "Mon-Fri 08:00 size=30; 18:00 size=0".
// Days are Mon, Mon-Fri or Mon,Wed,Fri. An empty text is no schedule. Kind Invalid.
func ParseSchedule(text string) (Schedule, error) {
	var s Schedule
	for part := range strings.SplitSeq(text, ";") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		e, err := parseEntry(part)
		if err != nil {
			return nil, &clade.Error{Op: "read", On: fmt.Sprintf("schedule %.60q", part), Kind: clade.Invalid, Err: err,
				Hint: `write it like "Mon-Fri 08:00 size=30; 18:00 size=0"`}
		}
		s = append(s, e)
	}
	return s, s.clash()
}

func parseEntry(text string) (e Entry, err error) {
	m := entryForm.FindStringSubmatch(text)
	if m == nil {
		return e, errors.New("not a time and a size")
	}
	if e.Days, err = parseDays(m[1]); err != nil {
		return e, err
	}
	e.Hour, _ = strconv.Atoi(m[2])
	e.Minute, _ = strconv.Atoi(m[3])
	e.Size, _ = strconv.Atoi(m[4])
	switch {
	case e.Hour > 23 || e.Minute > 59:
		return e, fmt.Errorf("%s:%s is no time of day", m[2], m[3])
	case e.Size > MaxSize:
		return e, fmt.Errorf("sizes go to %d", MaxSize)
	}
	return e, nil
}

func parseDays(text string) (days [7]bool, err error) {
	if text == "" {
		return [7]bool{true, true, true, true, true, true, true}, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		from, to, ranged := strings.Cut(part, "-")
		a, b := slices.Index(dayNames, strings.ToLower(from)), slices.Index(dayNames, strings.ToLower(to))
		if !ranged {
			b = a
		}
		if a < 0 || b < 0 {
			return days, fmt.Errorf("%.20q are no days", part)
		}
		for d := a; ; d = (d + 1) % 7 {
			days[d] = true
			if d == b {
				break
			}
		}
	}
	return days, nil
}

// clash refuses two sizes for one moment.
func (s Schedule) clash() error {
	for i, a := range s {
		for _, b := range s[:i] {
			for d := range a.Days {
				if a.Days[d] && b.Days[d] && a.Hour == b.Hour && a.Minute == b.Minute {
					return &clade.Error{Op: "read", On: "schedule", Kind: clade.Invalid,
						Err: fmt.Errorf("two sizes for %s %02d:%02d", time.Weekday(d), a.Hour, a.Minute), Hint: "leave one of them out"}
				}
			}
		}
	}
	return nil
}

// Largest is the largest size of the schedule.
func (s Schedule) Largest() int {
	n := 0
	for _, e := range s {
		n = max(n, e.Size)
	}
	return n
}

// Size is the size at t: that of the last entry before, or otherwise where the
// schedule has none.
func (s Schedule) Size(t time.Time, otherwise int) int {
	size := otherwise
	for _, c := range s.around(t) {
		if c.At.After(t) {
			break
		}
		size = c.Size
	}
	return size
}

// Next returns the first change of the size after t; nil where there is none.
func (s Schedule) Next(t time.Time, otherwise int) *clade.PoolChange {
	now := s.Size(t, otherwise)
	for _, c := range s.around(t) {
		if c.At.After(t) && c.Size != now {
			return &c
		}
	}
	return nil
}

// around returns the moments of all entries from a week before t to a week after,
// in their order.
func (s Schedule) around(t time.Time) []clade.PoolChange {
	var all []clade.PoolChange
	s = slices.SortedFunc(slices.Values(s), func(a, b Entry) int { return cmp.Compare(a.Hour*60+a.Minute, b.Hour*60+b.Minute) })
	year, month, day := t.Date()
	for offset := -8; offset <= 8; offset++ {
		noon := time.Date(year, month, day+offset, 12, 0, 0, 0, t.Location())
		for _, e := range s {
			if e.Days[noon.Weekday()] {
				all = append(all, clade.PoolChange{At: e.on(noon), Size: e.Size})
			}
		}
	}
	// Two entries that fall together, as those within the hour that is left out in
	// spring, keep the order of their times of day.
	slices.SortStableFunc(all, func(a, b clade.PoolChange) int { return cmp.Compare(a.At.UnixNano(), b.At.UnixNano()) })
	return all
}

// on is the entry's moment on the day of noon. A time that the clocks leave out is
// the moment they are put forward; one that comes twice is the first.
func (e Entry) on(noon time.Time) time.Time {
	year, month, day := noon.Date()
	t := time.Date(year, month, day, e.Hour, e.Minute, 0, 0, noon.Location())
	if t.Hour() != e.Hour || t.Minute() != e.Minute {
		from, to := t.ZoneBounds()
		if late := t.Hour()*60+t.Minute() > e.Hour*60+e.Minute; late {
			return from
		}
		return to
	}
	from, _ := t.ZoneBounds()
	if from.IsZero() {
		return t
	}
	_, offset := t.Zone()
	_, before := from.Add(-time.Second).Zone()
	if first := t.Add(time.Duration(offset-before) * time.Second); before > offset && first.Before(from) {
		return first
	}
	return t
}

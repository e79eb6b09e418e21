// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// soak runs copenclose beside the loop at full speed for a long time. What it
// writes is cut off now and then, so that the disk does not fill: a file that is
// appended to goes on at its new end.
func soak(s settings) error {
	const order = 2_000_000 // pairs between two looks
	g, err := startGenerator(s, onePinned)
	if err != nil {
		return err
	}
	defer g.stop()
	path := s.dir + "/soak"
	out, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|unix.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(path)
	defer out.Close()
	t, err := startReady(s, out, true)
	if err != nil {
		return err
	}
	defer t.removeOutput()

	table := newTable(os.Stdout, s, "seconds", "events made", "per second", "resident MiB", "peak MiB", "CPU ns per event")
	lines := max(1, s.soak/20)
	made, madeBefore, next := 0, 0, time.Duration(0)
	began, cpuBefore, last := time.Now(), t.cpu(), time.Now()
	for time.Since(began) < s.soak {
		n, _, err := g.order("pairs", order)
		if err != nil {
			t.stop()
			return err
		}
		made += 2 * n
		if err := out.Truncate(0); err != nil {
			t.stop()
			return err
		}
		select {
		case <-t.exited:
			return t.failure()
		default:
		}
		if time.Since(began) < next {
			continue
		}
		next += lines
		resident, peak := t.memory()
		now, events := t.cpu(), made-madeBefore
		if err := table.Append(whole(time.Since(began).Seconds()), strconv.Itoa(made), whole(float64(events)/time.Since(last).Seconds()),
			mib(resident), mib(peak), whole(float64(now-cpuBefore)/float64(events))); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%s: %d events, %s KiB resident\n", time.Since(began).Round(time.Second), made, whole(resident))
		madeBefore, cpuBefore, last = made, now, time.Now()
	}
	t.settle()
	t.stop()
	if err := table.Render(); err != nil {
		return err
	}
	fmt.Printf("%d events made; copenclose says: %s\n", made, summaryLine.Find(t.stderr.Bytes()))
	if t.lost() != 0 {
		return errors.New("events were lost")
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package cli

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Close()
		w.Close()
	})
	return r, w
}

// A write that nobody reads ends some time after the trace is to end, and not before.
func TestPatientOutputEnds(t *testing.T) {
	r, w := pipe(t)
	p := openPatiently(w)
	if p == nil {
		t.Fatal("a pipe is not opened")
	}
	defer p.file.Close()
	const more = 1 << 20 // than a pipe holds
	ended := make(chan error, 1)
	var n int
	go func() {
		var err error
		n, err = p.Write(make([]byte, more))
		ended <- err
	}()
	// It waits: the pipe fills, and stays full.
	for {
		held, err := unix.IoctlGetInt(int(r.Fd()), unix.TIOCINQ)
		if err != nil {
			t.Fatal(err)
		}
		if held > 0 {
			break
		}
	}
	select {
	case err := <-ended:
		t.Fatalf("it ended by itself: %v", err)
	default:
	}
	p.end()
	if err := <-ended; !errors.Is(err, errStandstill) || n == 0 || n >= more {
		t.Errorf("wrote %d: %v", n, err)
	}
	if _, err := p.Write(make([]byte, more)); !errors.Is(err, errStandstill) {
		t.Errorf("the next one: %v", err)
	}
}

// A slow reader gets everything, also when that takes longer than a standstill.
func TestPatientOutputWaitsForSlowReader(t *testing.T) {
	r, w := pipe(t)
	p := openPatiently(w)
	want := bytes.Repeat([]byte("0123456789abcdef"), 16<<10)
	got := make(chan []byte)
	go func() {
		var all bytes.Buffer
		chunk := make([]byte, 64<<10)
		for {
			n, err := r.Read(chunk)
			all.Write(chunk[:n])
			if err != nil {
				break
			}
			time.Sleep(standstill / 2)
		}
		got <- all.Bytes()
	}()
	p.end()
	if n, err := p.Write(want); n != len(want) || err != nil {
		t.Errorf("wrote %d: %v", n, err)
	}
	p.file.Close()
	w.Close()
	if all := <-got; !bytes.Equal(all, want) {
		t.Errorf("read %d of %d bytes", len(all), len(want))
	}
}

// The pipe itself still blocks for others, and a closed one is EPIPE.
func TestPatientOutputIsAlone(t *testing.T) {
	r, w := pipe(t)
	p := openPatiently(w)
	defer p.file.Close()
	flags, err := unix.FcntlInt(w.Fd(), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_NONBLOCK != 0 {
		t.Errorf("flags %#x, %v", flags, err)
	}
	r.Close()
	if _, err := p.Write([]byte("x")); !errors.Is(err, unix.EPIPE) {
		t.Error(err)
	}
}

func TestOpensPatientlyWhatMakesWait(t *testing.T) {
	regular, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer regular.Close()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, f := range []*os.File{regular, null} {
		if p := openPatiently(f); p != nil {
			t.Errorf("%s is opened", f.Name())
		}
		if _, err := io.WriteString(f, "x"); err != nil {
			t.Error(err)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckRelease(t *testing.T) {
	for release, says := range map[string]string{
		"6.1.0-49-cloud-amd64": "",
		"5.5.0":                "",
		"5.10":                 "",
		"6.18.44-fc-v669":      "",
		"7.2+":                 "",
		"5.4.0-150-generic":    "is too old: copenclose needs 5.5 or later",
		"4.19.0":               "is too old",
		"2.6.78":               "is too old",
		"":                     "is not like 6.1",
		"linux":                "is not like 6.1",
		"6":                    "is not like 6.1",
	} {
		_, err := checkRelease(release)
		if (says == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", release, err, says)
		}
	}
}

func TestCheckBTF(t *testing.T) {
	if err := checkBTF(t.TempDir()); err != nil {
		t.Error(err)
	}
	err := checkBTF(filepath.Join(t.TempDir(), "vmlinux"))
	if err == nil || !strings.Contains(err.Error(), "CONFIG_DEBUG_INFO_BTF=y") {
		t.Errorf("no file: %v", err)
	}
}

func FuzzParseRelease(f *testing.F) {
	f.Add("6.1.0-49-cloud-amd64")
	f.Add("6.")
	f.Add(".1")
	f.Fuzz(func(t *testing.T, release string) {
		if v, err := parseRelease(release); err == nil && !strings.HasPrefix(strings.TrimLeft(release, "+-0"), strings.TrimLeft(v.String()[:1], "0")) {
			t.Errorf("%q read as %s", release, v)
		}
	})
}

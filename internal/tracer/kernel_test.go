// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package tracer

import (
	"encoding/binary"
	"os"
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
	header := btfHeader{Magic: btfMagic, Version: 1, Length: 24, Types: 8, TextAt: 8, Text: 4}
	whole, err := binary.Append(nil, binary.NativeEndian, header)
	if err != nil {
		t.Fatal(err)
	}
	whole = append(whole, make([]byte, 12)...)
	for name, c := range map[string]struct {
		file []byte
		says string
	}{
		"whole": {whole, ""},
		"none":  {nil, "CONFIG_DEBUG_INFO_BTF=y"},
		"empty": {[]byte{}, "is not BTF"},
		"text":  {[]byte(strings.Repeat("not BTF", 100)), "is not BTF"},
		"cut":   {whole[:30], "is broken"},
	} {
		path := filepath.Join(t.TempDir(), "vmlinux")
		if c.file != nil {
			if err := os.WriteFile(path, c.file, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		size, err := checkBTF(path)
		if c.says == "" && (err != nil || size != int64(len(c.file))) {
			t.Errorf("%s: %d, %v", name, size, err)
		}
		if c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
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

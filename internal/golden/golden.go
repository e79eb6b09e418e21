// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package golden compares what tests got with files that have what they want.
package golden

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Path is the file of a name, in the folder of the package that is tested.
func Path(name string) string { return filepath.Join("testdata", name+".golden") }

// Check fails the test if got is not what the file of a name has, or with -update writes it.
func Check(t testing.TB, name string, got []byte) {
	t.Helper()
	path := Path(name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s, which go test -update writes anew: got\n%s\nwant\n%s", path, got, want)
	}
}

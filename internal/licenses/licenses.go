// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

// Package licenses has the licences of all that is linked into the binary, which a
// binary must carry. packaging/inventory collects them when it is built.
package licenses

import (
	"bytes"
	"compress/gzip"
	"io"
)

// WriteTo writes a list of the parts, and their licences, as text.
func WriteTo(w io.Writer) error {
	r, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return err
}

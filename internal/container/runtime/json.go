// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// jsonReader reads JSON a word at a time: what is not wanted is not kept, and nothing
// that is nested is.
type jsonReader struct {
	decoder *json.Decoder
	input   *window
}

// maxDepth is how deep arrays and objects may lie in each other. Docker's lie three
// deep.
const maxDepth = 16

func newJSONReader(r io.Reader) *jsonReader {
	input := &window{reader: r}
	return &jsonReader{json.NewDecoder(input), input}
}

// window is a reader that fails when more than maxPart bytes have been read since the
// decoder returned a word, because the decoder keeps them all.
type window struct {
	reader      io.Reader
	read, taken int64
}

func (w *window) Read(b []byte) (int, error) {
	room := w.taken + maxPart - w.read
	if room <= 0 {
		return 0, errTooLong
	}
	n, err := w.reader.Read(b[:min(int64(len(b)), room)])
	w.read += int64(n)
	return n, err
}

// word returns the next delimiter, string, number or other value.
func (r *jsonReader) word() (json.Token, error) {
	token, err := r.decoder.Token()
	r.input.taken = r.decoder.InputOffset()
	return token, err
}

// list reads an array, and calls each for every element, which must read it. For null
// it calls nothing.
func (r *jsonReader) list(each func() error) error {
	switch word, err := r.word(); {
	case err != nil:
		return err
	case word == nil:
		return nil
	case word != json.Delim('['):
		return fmt.Errorf("%T where an array should be", word)
	}
	for r.decoder.More() {
		if err := each(); err != nil {
			return err
		}
	}
	_, err := r.word()
	return err
}

// object reads an object, and calls each for every key, which must read the value. For
// null it calls nothing.
func (r *jsonReader) object(each func(key string) error) error {
	switch word, err := r.word(); {
	case err != nil:
		return err
	case word == nil:
		return nil
	case word != json.Delim('{'):
		return fmt.Errorf("%T where an object should be", word)
	}
	for r.decoder.More() {
		word, err := r.word()
		if err != nil {
			return err
		}
		if err := each(word.(string)); err != nil {
			return err
		}
	}
	_, err := r.word()
	return err
}

// text reads a string, or null for none.
func (r *jsonReader) text() ([]byte, error) {
	switch word, err := r.word(); word := word.(type) {
	case string:
		return []byte(word), nil
	case nil:
		return nil, err
	default:
		return nil, fmt.Errorf("%T where a string should be", word)
	}
}

// skip reads a value of any kind.
func (r *jsonReader) skip() error {
	for depth := 0; ; {
		word, err := r.word()
		if err != nil {
			return err
		}
		switch word {
		case json.Delim('['), json.Delim('{'):
			depth++
		case json.Delim(']'), json.Delim('}'):
			depth--
		}
		switch {
		case depth > maxDepth:
			return errors.New("too deeply nested")
		case depth <= 0:
			return nil
		}
	}
}

// into reads a string into to, cut after maxText bytes.
func (r *jsonReader) into(to *string) error {
	text, err := r.text()
	*to = clip(text)
	return err
}

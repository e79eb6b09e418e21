// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package runtime

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	gort "runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	idA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	idB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func serveAt(t testing.TB, path string, handler http.Handler) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.Listener.Close()
	server.Listener = l
	var both http.Protocols
	both.SetHTTP1(true)
	both.SetUnencryptedHTTP2(true)
	server.Config.Protocols = &both
	server.Start()
	t.Cleanup(server.Close)
}

// endless is a reader of one byte again and again.
type endless byte

func (e endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(e)
	}
	return len(b), nil
}

// repeat is a reader of text n times.
func repeat(text string, n int) io.Reader {
	blocks := make([]io.Reader, 0, 1000)
	if n > 1000 {
		block := strings.Repeat(text, 1000)
		for ; n > 1000; n -= 1000 {
			blocks = append(blocks, strings.NewReader(block))
		}
	}
	return io.MultiReader(append(blocks, strings.NewReader(strings.Repeat(text, n)))...)
}

func field(n protowire.Number, value string) string {
	return string(appendString(nil, n, value))
}

func frame(flag byte, length int) string {
	return string(binary.BigEndian.AppendUint32([]byte{flag}, uint32(length)))
}

// peak calls f and returns by how much the memory in use grew meanwhile, in bytes.
func peak(f func()) uint64 {
	gort.GC()
	var before, now gort.MemStats
	gort.ReadMemStats(&before)
	var highest atomic.Uint64
	done, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		for {
			gort.ReadMemStats(&now)
			highest.Store(max(highest.Load(), now.HeapInuse+now.StackInuse))
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	f()
	close(done)
	<-watched
	return highest.Load() - min(highest.Load(), before.HeapInuse+before.StackInuse)
}

// Whatever a runtime sends, it is read in bounded memory and time, and ends with an
// error, or with what was asked for.
func TestHostileAnswers(t *testing.T) {
	const mostMemory = 32 << 20 // of this process, which is also the runtime
	container := fmt.Sprintf(`{"Id":"%s","Names":["/web"],"Image":"nginx","State":"running"}`, idA)
	docker := func(body func() io.Reader) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { io.Copy(w, body()) }
	}
	grpc := func(body func() io.Reader) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Trailer", "Grpc-Status")
			io.Copy(w, body())
			w.Header().Set("Grpc-Status", "0")
		}
	}
	var bomb bytes.Buffer
	zipped := gzip.NewWriter(&bomb)
	io.WriteString(zipped, "[")
	io.Copy(zipped, repeat(container+",", 1_000_000))
	io.WriteString(zipped, container+"]")
	zipped.Close()
	t.Logf("the gzip bomb has %d bytes", bomb.Len())

	for _, test := range []struct {
		name    string
		api     API
		handler http.HandlerFunc
		wants   string // of the error; empty for none
	}{
		{"nothing but whitespace", dockerAPI{}, docker(func() io.Reader { return endless(' ') }), "too long"},
		{"an endless string", dockerAPI{}, docker(func() io.Reader {
			return io.MultiReader(strings.NewReader(`[{"Id":"`), endless('a'))
		}), "too long"},
		{"an endless key", dockerAPI{}, docker(func() io.Reader {
			return io.MultiReader(strings.NewReader(`[{"`), endless('a'))
		}), "too long"},
		{"an endless number", dockerAPI{}, docker(func() io.Reader {
			return io.MultiReader(strings.NewReader(`[{"Created":`), endless('1'))
		}), "too long"},
		{"deep arrays", dockerAPI{}, docker(func() io.Reader {
			return io.MultiReader(strings.NewReader(`[{"Mounts":`), endless('['))
		}), "nested"},
		{"deep objects", dockerAPI{}, docker(func() io.Reader {
			return io.MultiReader(strings.NewReader(`[{"Mounts":`), repeat(`{"a":`, 1_000_000))
		}), "nested"},
		{"a million containers", dockerAPI{}, docker(func() io.Reader {
			return io.MultiReader(strings.NewReader("["), repeat(container+",", 1_000_000), strings.NewReader(container+"]"))
		}), "too long"},
		{"a hundred thousand labels", dockerAPI{}, docker(func() io.Reader {
			return io.MultiReader(strings.NewReader(`[{"Labels":{`), repeat(`"io.kubernetes.pod.name":"x",`, 100_000), strings.NewReader(`"a":"b"},`+container[1:]+"]"))
		}), ""},
		{"a hundred thousand names", dockerAPI{}, docker(func() io.Reader {
			return io.MultiReader(strings.NewReader("["+container[:len(container)-1]+`,"Names":[`), repeat(`"/a/b",`, 100_000), strings.NewReader(`"/x"]}]`))
		}), ""},
		{"a gzip bomb", dockerAPI{}, func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
				t.Error("it is asked for gzip")
			}
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(bomb.Bytes())
		}, "decode"},
		{"long headers", dockerAPI{}, func(w http.ResponseWriter, r *http.Request) {
			for i := range 200 {
				w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("a", 1000))
			}
		}, "header"},
		{"a redirection", dockerAPI{}, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://elsewhere/", http.StatusFound)
		}, "302"},
		{"slow drops", dockerAPI{}, func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "[")
			for r.Context().Err() == nil {
				io.WriteString(w, " ")
				w.(http.Flusher).Flush()
				time.Sleep(10 * time.Millisecond)
			}
		}, "deadline"},
		{"an answer that is longer than the text", dockerAPI{}, docker(func() io.Reader {
			return io.MultiReader(strings.NewReader("["+container+"]"), endless('x'))
		}), ""},

		{"an endless message", criAPI{}, grpc(func() io.Reader {
			return io.MultiReader(strings.NewReader(frame(0, maxAnswer)), endless(0x0a))
		}), "decode"},
		{"a message that is too long", criAPI{}, grpc(func() io.Reader {
			return io.MultiReader(strings.NewReader(frame(0, 1<<31)), endless(0))
		}), "too long"},
		{"a container that is too long", criAPI{}, grpc(func() io.Reader {
			return io.MultiReader(strings.NewReader(frame(0, maxAnswer)+"\x0a\xff\xff\xff\x07"), endless('a'))
		}), "too long"},
		{"a compressed message", criAPI{}, grpc(func() io.Reader { return strings.NewReader(frame(1, 0)) }), "compressed"},
		{"many containers", criAPI{}, grpc(func() io.Reader {
			c := field(listItems, field(containerID, idA)+field(containerSandbox, field(metadataName, "x")))
			const n = 100_000
			return io.MultiReader(strings.NewReader(frame(0, n*len(c))), repeat(c, n))
		}), ""},
		{"many labels", criAPI{}, grpc(func() io.Reader {
			c := field(listItems, field(containerID, idA)+strings.Repeat(field(containerLabels, field(mapKey, "io.kubernetes.pod.name")+field(mapValue, "b")), 14_000))
			const n = 20
			return io.MultiReader(strings.NewReader(frame(0, n*len(c))), repeat(c, n))
		}), ""},
		{"deep groups", criAPI{}, grpc(func() io.Reader {
			c := field(listItems, strings.Repeat("\x0b", 400_000))
			return strings.NewReader(frame(0, len(c)) + c)
		}), "decode"},
		{"too much after it", criAPI{}, grpc(func() io.Reader {
			return io.MultiReader(strings.NewReader(frame(0, 0)), endless(0))
		}), "longer than it says"},
		{"a long error", criAPI{}, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Grpc-Status", "5")
			w.Header().Set("Grpc-Message", strings.Repeat("\x1b", 50_000))
		}, "gRPC status 5"},
		{"long headers of HTTP/2", criAPI{}, func(w http.ResponseWriter, r *http.Request) {
			for i := range 200 {
				w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("a", 1000))
			}
		}, "PROTOCOL_ERROR"},
		{"slow drops of HTTP/2", criAPI{}, func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, frame(0, 1000))
			for r.Context().Err() == nil {
				io.WriteString(w, "\x08\x01")
				w.(http.Flusher).Flush()
				time.Sleep(10 * time.Millisecond)
			}
		}, "deadline"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := shortDir(t) + "/s"
			serveAt(t, path, test.handler)
			s, err := OpenSocket(path)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			limit := 20 * time.Second
			if strings.HasPrefix(test.name, "slow") {
				limit = 200 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			var found []Details
			grown := peak(func() { found, err = test.api.Ask(ctx, s, []Query{{ID: idA}, {ID: idB}}) })
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			switch {
			case test.wants == "" && (err != nil || len(found) == 0 || found[0].ID != idA):
				t.Errorf("got %d answers, %v", len(found), err)
			case test.wants != "" && (err == nil || !strings.Contains(err.Error(), test.wants)):
				t.Errorf("got %v, want something of %q", err, test.wants)
			case err != nil && len(err.Error()) > 2000:
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			if grown > mostMemory {
				t.Errorf("the memory in use grew by %d KiB", grown>>10)
			}
			t.Logf("%d KiB, %v", grown>>10, err)
		})
	}
}

// Events do not end: they are bounded one by one, and by how many a second.
func TestHostileEvents(t *testing.T) {
	event := fmt.Sprintf(`{"Type":"container","Action":"rename","Actor":{"ID":"%s","Attributes":{"name":"a"}}}`, idA)
	for name, c := range map[string]struct {
		body  io.Reader
		wants string
	}{
		"a flood":          {repeat(event+"\n", 1_000_000), "deadline"},
		"an endless event": {io.MultiReader(strings.NewReader(`{"Actor":{"ID":"`), endless('a')), "too long"},
		"not an event":     {strings.NewReader("nonsense"), "decode"},
		"an array":         {strings.NewReader("[]"), "decode"},
		"deep":             {io.MultiReader(strings.NewReader(`{"a":`), endless('[')), "nested"},
		"the end":          {strings.NewReader(event), "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			path := shortDir(t) + "/s"
			serveAt(t, path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, c.body) }))
			s, err := OpenSocket(path)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			n := 0
			grown := peak(func() {
				err = dockerAPI{}.Follow(ctx, s, time.Now(), func(id string) {
					if n++; id != idA {
						t.Errorf("%q was renamed", id)
					}
				})
			})
			if err == nil || !strings.Contains(err.Error(), c.wants) || errors.Is(err, ErrNoEvents) {
				t.Errorf("got %v, want something of %q", err, c.wants)
			}
			if n > 60 || grown > 16<<20 {
				t.Errorf("%d events, %d KiB", n, grown>>10)
			}
		})
	}
	path := shortDir(t) + "/s"
	serveAt(t, path, http.NotFoundHandler())
	s, err := OpenSocket(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := (dockerAPI{}).Follow(t.Context(), s, time.Now(), nil); !errors.Is(err, ErrNoEvents) {
		t.Errorf("a runtime without events: %v", err)
	}
	_ = os.Remove(path)
}

func FuzzDockerList(f *testing.F) {
	f.Add([]byte(`[{"Id":"` + idA + `","Names":["/other/link","/web"],"Image":"nginx","State":"created","Labels":{"io.kubernetes.pod.name":"x","io.kubernetes.pod.uid":"u","io.kubernetes.container.name":"c"}}]`))
	f.Add([]byte(`[{"Id":"` + idA + `","Names":null,"Labels":null,"Ports":[{"IP":"::","PublicPort":80}]},{"Id":"x"}]`))
	f.Add([]byte(`[[[[{"Id":[{}]}]]]]`))
	f.Add([]byte("[null,{}]"))
	f.Fuzz(func(t *testing.T, body []byte) {
		found, _ := parseDockerList(bytes.NewReader(body), []Query{{ID: idA, PodUID: "u"}, {ID: idB}})
		checkFound(t, found)
	})
}

func FuzzDockerEvent(f *testing.F) {
	f.Add([]byte(`{"Type":"container","Action":"rename","Actor":{"ID":"` + idA + `","Attributes":{"name":"a"}},"time":1}`))
	f.Add([]byte(`{"Actor":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if id, err := parseDockerEvent(newJSONReader(bytes.NewReader(body))); len(id) > maxText && err == nil {
			t.Errorf("an id of %d bytes", len(id))
		}
	})
}

func FuzzCRIMessage(f *testing.F) {
	container := field(containerID, idA) + field(containerSandbox, idB) + field(containerMetadata, field(metadataName, "app")) +
		field(containerImage, field(imageName, "sha256:1")+field(imageUserSpecified, "busybox")) + "\x30\x01" +
		field(containerLabels, field(mapKey, "io.kubernetes.pod.name")+field(mapValue, "shop"))
	sandbox := field(sandboxID, idB) + field(sandboxMetadata, field(metadataName, "shop")+field(metadataUID, "u")+field(metadataNamespace, "prod")) + "\x18\x01"
	for _, items := range []string{field(listItems, container), field(listItems, sandbox), field(7, "x") + "\x0d1234\x0912345678", "\x0b"} {
		f.Add([]byte(frame(0, len(items)) + items))
	}
	f.Add([]byte(frame(1, 0)))
	f.Fuzz(func(t *testing.T, body []byte) {
		var found []Details
		_ = readMessage(bytes.NewReader(body), func(n protowire.Number, item []byte) error {
			c, _, _ := parseCRIContainer(item)
			s, _ := parseCRISandbox(item)
			found = append(found, c, s)
			return nil
		})
		checkFound(t, found)
	})
}

func checkFound(t *testing.T, found []Details) {
	t.Helper()
	for _, d := range found {
		for _, text := range []string{d.ID, d.Name, d.Image, d.Pod, d.Namespace, d.PodUID} {
			if len(text) > maxText {
				t.Errorf("a text of %d bytes", len(text))
			}
		}
	}
}

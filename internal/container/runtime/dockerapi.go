// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package runtime

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// dockerAPI is the API of the Docker engine, which Podman serves, too.
//
// Two questions are all that is asked, so net/http does: the engine's client library
// would add 1.1 MiB to the binary and 19 modules to build it from.
type dockerAPI struct{}

// ping returns nil if it is this API that is served.
func (d dockerAPI) ping(ctx context.Context, s *Socket) error {
	body, err := d.get(ctx, s, "/_ping", nil)
	if err == nil {
		body.Close()
	}
	return err
}

// Ask lists containers rather than inspecting them: Docker answers from memory then,
// without waiting for a container that it is just starting.
func (d dockerAPI) Ask(ctx context.Context, s *Socket, queries []Query) ([]Details, error) {
	ids := make([]string, 0, len(queries))
	for _, q := range queries {
		ids = append(ids, q.ID)
	}
	filters, err := json.Marshal(map[string][]string{"id": ids})
	if err != nil {
		return nil, err
	}
	body, err := d.get(ctx, s, "/containers/json", url.Values{"all": {"1"}, "filters": {string(filters)}})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	found, err := parseDockerList(&atMost{body, maxAnswer}, queries)
	if err != nil {
		err = fmt.Errorf("decode the list of containers: %w", err)
	}
	return found, err
}

// parseDockerList reads the answer to /containers/json.
func parseDockerList(body io.Reader, queries []Query) (found []Details, err error) {
	r := newJSONReader(body)
	err = r.list(func() error {
		d, labels, err := parseDockerContainer(r)
		if err != nil {
			return err
		}
		// A runtime that ignores the filters lists all that there are.
		q, ok := queried(queries, d.ID)
		if !ok || len(found) == MaxQueries {
			return nil
		}
		// An image can have any labels, those of the kubelet, too. What is in no
		// pod's cgroup is not of that pod.
		if q.PodUID != "" && labels.uid == q.PodUID {
			labels.addTo(&d)
		}
		found = append(found, d)
		return nil
	})
	return found, err
}

func parseDockerContainer(r *jsonReader) (d Details, labels podDetails, err error) {
	err = r.object(func(key string) error {
		switch key {
		case "Id":
			return r.into(&d.ID)
		case "Image":
			return r.into(&d.Image)
		case "State":
			state := ""
			err := r.into(&state)
			d.Running = state != "created"
			return err
		case "Names":
			return r.list(func() error {
				name := ""
				err := r.into(&name)
				// Links to the container are listed as /other/name.
				if name = strings.TrimPrefix(name, "/"); d.Name == "" && !strings.Contains(name, "/") {
					d.Name = name
				}
				return err
			})
		case "Labels":
			return r.object(func(key string) error {
				value, err := r.text()
				labels.label(key, value)
				return err
			})
		}
		return r.skip()
	})
	return d, labels, err
}

// Follow takes Docker's events. Podman has them, too.
func (d dockerAPI) Follow(ctx context.Context, s *Socket, since time.Time, renamed func(id string)) error {
	body, err := d.get(ctx, s, "/events", url.Values{
		"since":   {strconv.FormatFloat(float64(since.UnixMilli())/1000, 'f', 3, 64)},
		"filters": {`{"type":["container"],"event":["rename"]}`},
	})
	if err != nil {
		if ctx.Err() == nil && !isDialError(err) {
			return fmt.Errorf("%w: %w", ErrNoEvents, err)
		}
		return err
	}
	defer body.Close()
	r := newJSONReader(body)
	for {
		id, err := parseDockerEvent(r)
		if err != nil {
			return fmt.Errorf("decode the events of containers: %w", err)
		}
		renamed(id)
		// Whoever sends more than a hundred a second is not worth more time.
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// parseDockerEvent returns the id of the container that a rename was about.
func parseDockerEvent(r *jsonReader) (id string, err error) {
	err = r.object(func(key string) error {
		if key != "Actor" {
			return r.skip()
		}
		return r.object(func(key string) error {
			if key != "ID" {
				return r.skip()
			}
			return r.into(&id)
		})
	})
	return id, err
}

// get returns the body of the answer to a GET.
func (dockerAPI) get(ctx context.Context, s *Socket, path string, query url.Values) (io.ReadCloser, error) {
	u := url.URL{Scheme: "http", Host: "runtime", Path: path, RawQuery: query.Encode()}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	client := newClient(s, func(p *http.Protocols) { p.SetHTTP1(true) })
	response, err := client.Do(request)
	if err != nil {
		return nil, withoutURL(err)
	}
	if response.StatusCode != http.StatusOK {
		defer response.Body.Close()
		message, _ := io.ReadAll(io.LimitReader(response.Body, maxMessage))
		return nil, statusError{"GET " + path, response.Status, strings.TrimSpace(string(message))}
	}
	return response.Body, nil
}

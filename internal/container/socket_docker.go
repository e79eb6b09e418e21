// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package container

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// dockerAPI is the API of the Docker engine, which Podman serves, too.
//
// One question is all that is asked, so net/http does: the engine's client
// library would add 1.1 MiB to the binary and 19 modules to build it from.
type dockerAPI struct{ client http.Client }

func newDockerAPI(socket string) *dockerAPI {
	var http1 http.Protocols
	http1.SetHTTP1(true)
	return &dockerAPI{newClient(socket, &http1)}
}

// ping tells whether it is this API that is served.
func (d *dockerAPI) ping(ctx context.Context) error { return d.read(ctx, "/_ping", nil, nil) }

// ask lists containers rather than inspecting them: Docker answers from memory
// then, without waiting for a container that it is just starting.
func (d *dockerAPI) ask(ctx context.Context, ids []string) ([]answer, error) {
	filters, err := json.Marshal(map[string][]string{"id": ids})
	if err != nil {
		return nil, err
	}
	var listed []struct {
		ID     string `json:"Id"`
		Names  []string
		Image  string
		State  string
		Labels map[string]string
	}
	query := url.Values{"all": {"1"}, "filters": {string(filters)}}
	if err := d.read(ctx, "/containers/json", query, &listed); err != nil {
		return nil, err
	}
	answers := make([]answer, 0, len(listed))
	for _, c := range listed {
		a := answer{id: c.ID, image: c.Image, running: c.State != "created"}
		for _, name := range c.Names {
			// Links to the container are listed as /other/name.
			if name = strings.TrimPrefix(name, "/"); !strings.Contains(name, "/") {
				a.name = name
				break
			}
		}
		a.fromKubelet(c.Labels)
		answers = append(answers, a)
	}
	return answers, nil
}

// read decodes the answer to a GET into v, unless that is nil.
func (d *dockerAPI) read(ctx context.Context, path string, query url.Values, v any) error {
	u := url.URL{Scheme: "http", Host: "runtime", Path: path, RawQuery: query.Encode()}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	response, err := d.client.Do(request)
	if err != nil {
		return short(err)
	}
	defer response.Body.Close()
	body := io.LimitReader(response.Body, maxAnswer)
	if response.StatusCode != http.StatusOK {
		message, _ := io.ReadAll(io.LimitReader(body, 200))
		return statusError{"GET " + path, response.Status, strings.TrimSpace(string(message))}
	}
	if v == nil {
		return nil
	}
	if err := json.NewDecoder(body).Decode(v); err != nil {
		return fmt.Errorf("decode the list of containers: %w", err)
	}
	return nil
}

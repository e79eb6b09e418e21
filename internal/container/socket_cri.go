// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package container

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// criAPI is the Container Runtime Interface of Kubernetes, version v1, which
// containerd and CRI-O serve.
//
// It is gRPC: an HTTP/2 request with a protobuf message, of which a handful of
// fields are of interest. net/http, which the API of Docker needs anyhow, and
// protowire do it; grpc and k8s.io/cri-api would add 4.2 MiB to the binary. The
// tests talk to a server that is made with the two.
type criAPI struct{ client http.Client }

func newCRI(socket string) *criAPI {
	var http2 http.Protocols
	http2.SetUnencryptedHTTP2(true)
	return &criAPI{newClient(socket, &http2)}
}

// ping tells whether it is this API that is served.
func (c *criAPI) ping(ctx context.Context) error {
	_, err := c.call(ctx, "Version", nil)
	return err
}

// The field numbers of api.proto, package runtime.v1.
const (
	listFilter = 1 // of ListContainersRequest, ListPodSandboxRequest
	filterID   = 1 // of ContainerFilter, PodSandboxFilter
	listItems  = 1 // of ListContainersResponse, ListPodSandboxResponse

	containerID       = 1
	containerSandbox  = 2
	containerMetadata = 3
	containerImage    = 4
	containerState    = 6
	containerLabels   = 8

	sandboxID       = 1
	sandboxMetadata = 2
	sandboxState    = 3

	metadataName      = 1 // of ContainerMetadata, PodSandboxMetadata
	metadataUID       = 2 // of PodSandboxMetadata
	metadataNamespace = 3

	imageName          = 1 // of ImageSpec
	imageUserSpecified = 18

	statusRequestID     = 1 // of ContainerStatusRequest
	statusResponse      = 1 // of ContainerStatusResponse
	containerStatusSpec = 8 // of ContainerStatus: ImageSpec

	mapKey, mapValue = 1, 2

	stateCreated  = 0 // CONTAINER_CREATED
	stateNotReady = 1 // SANDBOX_NOTREADY
)

// ask lists everything for more than one id: the filter takes but one.
func (c *criAPI) ask(ctx context.Context, ids []string) ([]answer, error) {
	var request []byte
	if len(ids) == 1 {
		filter := appendString(nil, filterID, ids[0])
		request = appendString(nil, listFilter, string(filter))
	}
	wanted := make(map[string]bool, len(ids))
	for _, id := range ids {
		wanted[id] = true
	}

	reply, err := c.call(ctx, "ListContainers", request)
	if err != nil {
		return nil, err
	}
	var answers []answer
	sandboxes := make(map[string][]int) // the answers without a pod
	err = items(reply, func(item []byte) error {
		a, sandbox, err := parseContainer(item)
		if err != nil || !wanted[a.id] {
			return err
		}
		delete(wanted, a.id)
		if a.pod == "" {
			sandboxes[sandbox] = append(sandboxes[sandbox], len(answers))
		}
		answers = append(answers, a)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range answers {
		if err := c.nameImage(ctx, &answers[i]); err != nil {
			return nil, err
		}
	}
	if len(wanted)+len(sandboxes) == 0 {
		return answers, nil
	}

	// The rest are sandboxes themselves, or unknown.
	if len(sandboxes) > 0 {
		request = nil
	}
	reply, err = c.call(ctx, "ListPodSandbox", request)
	if err != nil {
		return nil, err
	}
	err = items(reply, func(item []byte) error {
		a, err := parseSandbox(item)
		if err != nil {
			return err
		}
		for _, i := range sandboxes[a.id] {
			answers[i].pod, answers[i].namespace, answers[i].podUID = a.pod, a.namespace, a.podUID
		}
		if wanted[a.id] {
			answers = append(answers, a)
		}
		return nil
	})
	return answers, err
}

// nameImage replaces the id of an image, which is how the kubelet asks for it,
// by a name, which ContainerStatus alone gives.
func (c *criAPI) nameImage(ctx context.Context, a *answer) error {
	if !strings.HasPrefix(a.image, "sha256:") && !isID(a.image) {
		return nil
	}
	reply, err := c.call(ctx, "ContainerStatus", appendString(nil, statusRequestID, a.id))
	if err != nil {
		// It may be gone by now.
		if errors.As(err, new(statusError)) {
			return nil
		}
		return err
	}
	return fields(reply, func(n protowire.Number, _ uint64, status []byte) error {
		if n != statusResponse {
			return nil
		}
		return fields(status, func(n protowire.Number, _ uint64, spec []byte) error {
			if n != containerStatusSpec {
				return nil
			}
			return fields(spec, func(n protowire.Number, _ uint64, b []byte) error {
				if n == imageName && len(b) > 0 {
					a.image = string(b)
				}
				return nil
			})
		})
	})
}

func parseContainer(b []byte) (a answer, sandbox string, err error) {
	labels := make(map[string]string)
	// A zero is left out of the message.
	state := uint64(stateCreated)
	var userSpecified string
	err = fields(b, func(n protowire.Number, v uint64, b []byte) error {
		switch n {
		case containerID:
			a.id = string(b)
		case containerSandbox:
			sandbox = string(b)
		case containerState:
			state = v
		case containerMetadata:
			return fields(b, func(n protowire.Number, _ uint64, b []byte) error {
				if n == metadataName {
					a.name = string(b)
				}
				return nil
			})
		case containerImage:
			return fields(b, func(n protowire.Number, _ uint64, b []byte) error {
				switch n {
				case imageName:
					a.image = string(b)
				case imageUserSpecified:
					userSpecified = string(b)
				}
				return nil
			})
		case containerLabels:
			var key, value string
			err := fields(b, func(n protowire.Number, _ uint64, b []byte) error {
				switch n {
				case mapKey:
					key = string(b)
				case mapValue:
					value = string(b)
				}
				return nil
			})
			labels[key] = value
			return err
		}
		return nil
	})
	if userSpecified != "" {
		a.image = userSpecified
	}
	a.running = state != stateCreated
	a.fromKubelet(labels)
	return a, sandbox, err
}

func parseSandbox(b []byte) (a answer, err error) {
	state := uint64(0)
	err = fields(b, func(n protowire.Number, v uint64, b []byte) error {
		switch n {
		case sandboxID:
			a.id = string(b)
		case sandboxState:
			state = v
		case sandboxMetadata:
			return fields(b, func(n protowire.Number, _ uint64, b []byte) error {
				switch n {
				case metadataName:
					a.pod = string(b)
				case metadataUID:
					a.podUID = string(b)
				case metadataNamespace:
					a.namespace = string(b)
				}
				return nil
			})
		}
		return nil
	})
	a.running = state != stateNotReady
	return a, err
}

// fromKubelet takes what the kubelet labels containers with.
func (a *answer) fromKubelet(labels map[string]string) {
	pod := labels["io.kubernetes.pod.name"]
	if pod == "" {
		return
	}
	a.pod = pod
	a.namespace = labels["io.kubernetes.pod.namespace"]
	a.podUID = labels["io.kubernetes.pod.uid"]
	if name := labels["io.kubernetes.container.name"]; name != "" {
		a.name = name
	}
}

// call makes a gRPC call without streams.
func (c *criAPI) call(ctx context.Context, method string, message []byte) ([]byte, error) {
	framed := binary.BigEndian.AppendUint32([]byte{uncompressed}, uint32(len(message)))
	framed = append(framed, message...)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost,
		"http://runtime/runtime.v1.RuntimeService/"+method, bytes.NewReader(framed))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/grpc")
	request.Header.Set("TE", "trailers")
	response, err := c.client.Do(request)
	if err != nil {
		return nil, short(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("CRI %s: %s", method, response.Status)
	}
	reply, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("CRI %s: %w", method, err)
	}
	// A call that failed at once has the status among the headers.
	for _, header := range []http.Header{response.Trailer, response.Header} {
		if code := header.Get("Grpc-Status"); code != "" && code != "0" {
			text, _ := url.PathUnescape(header.Get("Grpc-Message"))
			return nil, statusError{"CRI " + method, "gRPC status " + code, text}
		}
	}
	if len(reply) < frameHeader || reply[0] != uncompressed ||
		binary.BigEndian.Uint32(reply[1:]) != uint32(len(reply)-frameHeader) {
		return nil, fmt.Errorf("CRI %s: malformed answer", method)
	}
	return reply[frameHeader:], nil
}

// A gRPC message has one byte before it that says whether it is compressed, and
// four for its length.
const (
	frameHeader  = 5
	uncompressed = 0
)

func items(b []byte, visit func(item []byte) error) error {
	return fields(b, func(n protowire.Number, _ uint64, item []byte) error {
		if n != listItems {
			return nil
		}
		return visit(item)
	})
}

// fields visits the fields of a protobuf message: those with a number as value
// with v, those with bytes with b.
func fields(message []byte, visit func(n protowire.Number, v uint64, b []byte) error) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return fmt.Errorf("decode the answer: %w", protowire.ParseError(n))
		}
		message = message[n:]
		var v uint64
		var b []byte
		switch kind {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(message)
		case protowire.BytesType:
			b, n = protowire.ConsumeBytes(message)
		default:
			n = protowire.ConsumeFieldValue(number, kind, message)
		}
		if n < 0 {
			return fmt.Errorf("decode the answer: %w", protowire.ParseError(n))
		}
		message = message[n:]
		if err := visit(number, v, b); err != nil {
			return err
		}
	}
	return nil
}

func appendString(b []byte, n protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), s)
}

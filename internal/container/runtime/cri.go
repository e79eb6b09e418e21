// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The copenclose authors

package runtime

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// criAPI is the Container Runtime Interface of Kubernetes, version v1, which
// containerd and CRI-O serve.
//
// It is gRPC: an HTTP/2 request with a protobuf message, of which a handful of fields
// are of interest. net/http, which the API of Docker needs anyhow, and protowire do it;
// grpc and k8s.io/cri-api would add 4.2 MiB to the binary. The tests talk to a server
// that is made with the two.
type criAPI struct{}

// Follow has nothing to report: CRI does not rename containers, and its events
// (GetContainerEvents) have no name.
func (criAPI) Follow(context.Context, *Socket, time.Time, func(string)) error { return ErrNoEvents }

// ping returns nil if it is this API that is served.
func (c criAPI) ping(ctx context.Context, s *Socket) error {
	return c.call(ctx, s, "Version", nil, func(protowire.Number, []byte) error { return nil })
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

// Ask lists everything for more than one id: the filter takes but one.
func (c criAPI) Ask(ctx context.Context, s *Socket, queries []Query) (found []Details, err error) {
	var request []byte
	if len(queries) == 1 {
		filter := appendString(nil, filterID, queries[0].ID)
		request = appendString(nil, listFilter, string(filter))
	}
	rest := make(map[string]bool, len(queries))
	for _, q := range queries {
		rest[q.ID] = true
	}

	sandboxes := make(map[string][]int) // of those found without a pod
	err = c.call(ctx, s, "ListContainers", request, func(n protowire.Number, item []byte) error {
		if n != listItems {
			return nil
		}
		d, sandbox, err := parseCRIContainer(item)
		if err != nil || !rest[d.ID] {
			return err
		}
		delete(rest, d.ID)
		if d.Pod == "" {
			sandboxes[sandbox] = append(sandboxes[sandbox], len(found))
		}
		found = append(found, d)
		return nil
	})
	if err != nil {
		return found, err
	}
	for i := range found {
		if err := c.nameImage(ctx, s, &found[i]); err != nil {
			return found, err
		}
	}
	if len(rest)+len(sandboxes) == 0 {
		return found, nil
	}

	// The rest are sandboxes themselves, or unknown.
	if len(sandboxes) > 0 {
		request = nil
	}
	err = c.call(ctx, s, "ListPodSandbox", request, func(n protowire.Number, item []byte) error {
		if n != listItems {
			return nil
		}
		d, err := parseCRISandbox(item)
		if err != nil {
			return err
		}
		for _, i := range sandboxes[d.ID] {
			found[i].Pod, found[i].Namespace, found[i].PodUID = d.Pod, d.Namespace, d.PodUID
		}
		if rest[d.ID] {
			delete(rest, d.ID)
			found = append(found, d)
		}
		return nil
	})
	return found, err
}

// nameImage replaces the id of an image, which is how the kubelet asks for it, by a
// name, which ContainerStatus alone gives.
func (c criAPI) nameImage(ctx context.Context, s *Socket, d *Details) error {
	if !strings.HasPrefix(d.Image, "sha256:") && !IsID(d.Image) {
		return nil
	}
	request := appendString(nil, statusRequestID, d.ID)
	err := c.call(ctx, s, "ContainerStatus", request, func(n protowire.Number, status []byte) error {
		if n != statusResponse {
			return nil
		}
		return fields(status, func(n protowire.Number, _ uint64, spec []byte) error {
			if n != containerStatusSpec {
				return nil
			}
			return fields(spec, func(n protowire.Number, _ uint64, b []byte) error {
				if n == imageName && len(b) > 0 {
					d.Image = clip(b)
				}
				return nil
			})
		})
	})
	// It may be gone by now.
	if errors.As(err, new(statusError)) {
		return nil
	}
	return err
}

func parseCRIContainer(b []byte) (d Details, sandbox string, err error) {
	var labels podDetails
	// A zero is left out of the message.
	state := uint64(stateCreated)
	var userSpecified string
	err = fields(b, func(n protowire.Number, v uint64, b []byte) error {
		switch n {
		case containerID:
			d.ID = clip(b)
		case containerSandbox:
			sandbox = clip(b)
		case containerState:
			state = v
		case containerMetadata:
			return fields(b, func(n protowire.Number, _ uint64, b []byte) error {
				if n == metadataName {
					d.Name = clip(b)
				}
				return nil
			})
		case containerImage:
			return fields(b, func(n protowire.Number, _ uint64, b []byte) error {
				switch n {
				case imageName:
					d.Image = clip(b)
				case imageUserSpecified:
					userSpecified = clip(b)
				}
				return nil
			})
		case containerLabels:
			var key string
			var value []byte
			err := fields(b, func(n protowire.Number, _ uint64, b []byte) error {
				switch n {
				case mapKey:
					key = clip(b)
				case mapValue:
					value = b
				}
				return nil
			})
			labels.label(key, value)
			return err
		}
		return nil
	})
	if userSpecified != "" {
		d.Image = userSpecified
	}
	d.Running = state != stateCreated
	labels.addTo(&d)
	return d, sandbox, err
}

func parseCRISandbox(b []byte) (d Details, err error) {
	state := uint64(0)
	err = fields(b, func(n protowire.Number, v uint64, b []byte) error {
		switch n {
		case sandboxID:
			d.ID = clip(b)
		case sandboxState:
			state = v
		case sandboxMetadata:
			return fields(b, func(n protowire.Number, _ uint64, b []byte) error {
				switch n {
				case metadataName:
					d.Pod = clip(b)
				case metadataUID:
					d.PodUID = clip(b)
				case metadataNamespace:
					d.Namespace = clip(b)
				}
				return nil
			})
		}
		return nil
	})
	d.Running = state != stateNotReady
	return d, err
}

// call makes a gRPC call without streams, and calls each for every field of the answer
// that has bytes, while the answer is being read. They are valid until each returns.
func (criAPI) call(ctx context.Context, s *Socket, method string, message []byte, each func(n protowire.Number, b []byte) error) error {
	framed := binary.BigEndian.AppendUint32([]byte{uncompressed}, uint32(len(message)))
	framed = append(framed, message...)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost,
		"http://runtime/runtime.v1.RuntimeService/"+method, bytes.NewReader(framed))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/grpc")
	request.Header.Set("TE", "trailers")
	client := newClient(s, func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) })
	response, err := client.Do(request)
	if err != nil {
		return withoutURL(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("CRI %s: %s", method, response.Status)
	}
	// A call that failed at once has the status among the headers, and one that
	// failed later in the trailer, which is there when all else was read.
	if err := grpcStatus(method, response.Header); err != nil {
		return err
	}
	readErr := readMessage(response.Body, each)
	if err := grpcStatus(method, response.Trailer); err != nil {
		return err
	}
	if readErr != nil {
		return fmt.Errorf("CRI %s: %w", method, readErr)
	}
	return nil
}

func grpcStatus(method string, header http.Header) error {
	code := header.Get("Grpc-Status")
	if code == "" || code == "0" {
		return nil
	}
	text, _ := url.PathUnescape(header.Get("Grpc-Message"))
	return statusError{"CRI " + method, "gRPC status " + code, text[:min(len(text), maxMessage)]}
}

// A gRPC message has one byte before it that says whether it is compressed, and four
// for its length.
const (
	frameHeader  = 5
	uncompressed = 0
)

// readMessage reads a gRPC message to the end of body, one field at a time.
func readMessage(body io.Reader, each func(n protowire.Number, b []byte) error) error {
	var header [frameHeader]byte
	if _, err := io.ReadFull(body, header[:]); err != nil {
		return fmt.Errorf("malformed answer: %w", err)
	}
	length := binary.BigEndian.Uint32(header[1:])
	if header[0] != uncompressed {
		return errors.New("malformed answer: it is compressed")
	}
	if length > maxAnswer {
		return errTooLong
	}
	limited := &io.LimitedReader{R: body, N: int64(length)}
	message := bufio.NewReader(limited)
	var buffer []byte
	for {
		n, field, err := readField(message, buffer)
		if err == io.EOF {
			break
		}
		if err == nil && field != nil {
			buffer = field
			err = each(n, field)
		}
		if err != nil {
			return fmt.Errorf("decode the answer: %w", err)
		}
	}
	if limited.N > 0 {
		return fmt.Errorf("malformed answer: %w", io.ErrUnexpectedEOF)
	}
	// Only the trailer follows, which net/http has read at the end.
	switch n, err := io.ReadFull(body, header[:1]); {
	case n > 0:
		return errors.New("malformed answer: it is longer than it says")
	case err != io.EOF:
		return err
	}
	return nil
}

// readField reads a field of a protobuf message. field is nil if the value is a
// number; it uses buffer if that has the room. The error is io.EOF at the end.
func readField(r *bufio.Reader, buffer []byte) (n protowire.Number, field []byte, err error) {
	tag, err := binary.ReadUvarint(r)
	if err != nil {
		return 0, nil, err
	}
	n, kind := protowire.DecodeTag(tag)
	switch {
	case n < protowire.MinValidNumber:
		err = errors.New("a field without a number")
	case kind == protowire.VarintType:
		_, err = binary.ReadUvarint(r)
	case kind == protowire.Fixed32Type:
		_, err = r.Discard(4)
	case kind == protowire.Fixed64Type:
		_, err = r.Discard(8)
	case kind == protowire.BytesType:
		var length uint64
		if length, err = binary.ReadUvarint(r); err != nil {
			break
		}
		if length > maxPart {
			return 0, nil, errTooLong
		}
		field = slices.Grow(buffer[:0], int(length))[:length]
		_, err = io.ReadFull(r, field)
	default:
		err = fmt.Errorf("a field of kind %d", kind)
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, field, err
}

// fields visits the fields of a protobuf message: those with a number as value with v,
// those with bytes with b.
func fields(message []byte, visit func(n protowire.Number, v uint64, b []byte) error) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return protowire.ParseError(n)
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
			return protowire.ParseError(n)
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

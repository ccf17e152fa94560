package amqp

import (
	"fmt"
	"io"
)

// Frame types.
const (
	FrameAMQP = 0
	FrameSASL = 1
)

// MinMaxFrameSize is the smallest max-frame-size a peer may announce.
const MinMaxFrameSize = 512

const frameHeaderSize = 8

// Frame is one frame as read. An empty Body is a keep-alive.
type Frame struct {
	Type    byte
	Channel uint16
	Body    []byte
}

// ReadFrame reads one frame of at most maxSize bytes. The size is checked before memory
// is set aside for it. The body is the caller's to keep.
func ReadFrame(r io.Reader, maxSize uint32) (Frame, error) {
	var header [frameHeaderSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return Frame{}, err
	}
	size := order.Uint32(header[:])
	offset := 4 * uint32(header[4])
	if size > maxSize {
		return Frame{}, malformed("frame of %d bytes, %d allowed", size, maxSize)
	}
	if offset < frameHeaderSize || size < offset {
		return Frame{}, malformed("frame of %d bytes with data at %d", size, offset)
	}
	body := make([]byte, size-frameHeaderSize)
	if _, err := io.ReadFull(r, body); err != nil {
		return Frame{}, fmt.Errorf("frame body: %w", err)
	}
	return Frame{Type: header[5], Channel: order.Uint16(header[6:]), Body: body[offset-frameHeaderSize:]}, nil
}

// AppendFrame adds a frame to b. A nil performative makes a keep-alive.
func AppendFrame(b []byte, kind byte, channel uint16, p Performative, payload []byte) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0, frameHeaderSize/4, kind, byte(channel>>8), byte(channel))
	if p != nil {
		b = p.append(b)
	}
	b = append(b, payload...)
	order.PutUint32(b[start:], uint32(len(b)-start))
	return b
}

package qga

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// maxChunk bounds one read of a file, in bytes: the agent's answer is base64 in
// one line, and old agents cannot send large ones.
const maxChunk = 48 << 10

// ReadFile returns at most limit bytes of a guest's file. Kinds: NotFound,
// Denied, Unsupported (the agent does not allow it).
func (c *Client) ReadFile(ctx context.Context, path string, limit int) ([]byte, error) {
	on := fmt.Sprintf("guest file %.200q", path)
	handle, err := c.open(ctx, path, "r")
	if err != nil {
		return nil, refusal("read", on, err)
	}
	data, err := c.readHandle(ctx, handle, limit)
	if closing := c.Execute(ctx, "guest-file-close", map[string]int64{"handle": handle}, nil); err == nil {
		err = closing
	}
	if err != nil {
		return nil, refusal("read", on, err)
	}
	return data, nil
}

func (c *Client) readHandle(ctx context.Context, handle int64, limit int) ([]byte, error) {
	var data []byte
	for len(data) < limit {
		var chunk struct {
			Data []byte `json:"buf-b64"`
			EOF  bool   `json:"eof"`
		}
		args := map[string]int64{"handle": handle, "count": int64(min(maxChunk, limit-len(data)))}
		if err := c.Execute(ctx, "guest-file-read", args, &chunk); err != nil {
			return nil, err
		}
		if len(chunk.Data) > limit-len(data) {
			return nil, errors.New("more data than asked for")
		}
		data = append(data, chunk.Data...)
		if chunk.EOF || len(chunk.Data) == 0 {
			break
		}
	}
	return data, nil
}

func contains(text, words string) bool {
	return strings.Contains(strings.ToLower(text), strings.ToLower(words))
}

package identity

import (
	"bytes"
	"regexp"
)

// The values of files that lie among others which many machines have alike: a
// directory with one's own key and the authority's certificate. What is alike has
// no value, and so is never reported as shared.

// privateKey is the value of a file that holds a private key.
func privateKey(data []byte) string { return having("PRIVATE KEY")(data) }

// having returns the value of files that hold any of words.
func having(words ...string) func([]byte) string {
	return func(data []byte) string {
		for _, w := range words {
			if bytes.Contains(data, []byte(w)) {
				return fingerprint(data)
			}
		}
		return ""
	}
}

var uuidForm = regexp.MustCompile(`(?i)^[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}`)

// uuid is the value of a file that is a UUID, which is no secret by itself.
func uuid(data []byte) string {
	if data = bytes.TrimSpace(data); uuidForm.Match(data) {
		return plain(data)
	}
	return ""
}

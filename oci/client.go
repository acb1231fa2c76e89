package oci

import (
	"errors"
	"net/http"
	"time"

	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/retry"

	"github.com/clade-vm/clade"
)

const (
	maxMetadata  = 4 << 20          // of an OCI manifest or a list of tags
	maxTagPages  = 10               // of the list of tags
	maxRedirects = 5                //
	headerLimit  = 10 * time.Minute // for an answer: a registry may read a blob again before it says yes
)

// repository returns the client of one repository.
func (o Options) repository(ref registry.Reference) (*remote.Repository, error) {
	store, err := credentials.NewStoreFromDocker(credentials.StoreOptions{})
	if err != nil {
		return nil, &clade.Error{Kind: clade.Invalid, Err: errors.New("the docker configuration cannot be read"), // its text may hold secrets
			Hint: "check ~/.docker/config.json, or $DOCKER_CONFIG/config.json"}
	}
	plain := o.PlainHTTP || loopback(ref.Host())
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true // blobs come as they are, or their digests would not fit
	transport.ResponseHeaderTimeout = headerLimit
	retrying := &retry.Transport{Base: &guard{plain, transport}}
	if o.retries != nil {
		retrying.Policy = func() retry.Policy { return o.retries }
	}
	return &remote.Repository{
		Reference:        ref,
		PlainHTTP:        plain,
		MaxMetadataBytes: maxMetadata,
		TagListMaxPages:  maxTagPages,
		Client: &auth.Client{
			Client:     &http.Client{Transport: retrying, CheckRedirect: redirect},
			Header:     http.Header{"User-Agent": {"clade"}},
			Credential: credentials.Credential(store),
			Cache:      auth.NewCache(),
		},
	}, nil
}

func redirect(_ *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return refusal(clade.Invalid, "more than %d redirections", maxRedirects)
	}
	return nil
}

// A guard lets nothing through in the clear where TLS is spoken, whoever asks for
// it: a redirection, or the address of a server for tokens.
type guard struct {
	plain bool
	http.RoundTripper
}

func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if !g.plain && r.URL.Scheme != "https" {
		return nil, refusal(clade.Denied, "the registry sends us to %s://%.100s, where others could listen", r.URL.Scheme, r.URL.Host)
	}
	return g.RoundTripper.RoundTrip(r)
}

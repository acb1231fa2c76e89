package oci

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/clade-vm/clade"
)

const user, password = "jo", "s3cret-pass"

// login writes a docker configuration.
func login(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func auths(host, user, password string) string {
	return fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
}

// basic wants a name and a password.
func basic(w http.ResponseWriter, r *http.Request) bool {
	if u, p, ok := r.BasicAuth(); ok && u == user && p == password {
		return false
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
	w.WriteHeader(http.StatusUnauthorized)
	return true
}

// tokens wants a token, which is to be had for a name and a password.
func tokens(s *server, realm string) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			if u, p, ok := r.BasicAuth(); !ok || u != user || p != password {
				w.WriteHeader(http.StatusUnauthorized)
			} else {
				fmt.Fprintf(w, `{"token":"T-%s"}`, strings.ReplaceAll(r.URL.Query().Get("scope"), " ", "+"))
			}
			return true
		}
		want := "pull"
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			want = "push"
		}
		if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer T-repository:vms/debian-12:"); ok && strings.Contains(token, want) {
			return false
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="registry",scope="repository:vms/debian-12:pull,push"`, realm))
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
}

func TestLogin(t *testing.T) {
	helper := t.TempDir()
	script := "#!/bin/sh\nread host\n[ \"$1\" = get ] && echo \"$host\" >> \"$HELPER_LOG\" && echo '{\"Username\":\"" + user + "\",\"Secret\":\"" + password + "\"}'\n"
	if err := os.WriteFile(filepath.Join(helper, "docker-credential-clade"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", helper+":"+os.Getenv("PATH"))
	t.Setenv("HELPER_LOG", filepath.Join(helper, "log"))
	for _, how := range []string{"basic", "token"} {
		for _, c := range []struct {
			name   string
			config func(host string) string
			kind   clade.Kind
		}{
			{"password", func(host string) string { return auths(host, user, password) }, ""},
			{"helper", func(string) string { return `{"credsStore":"clade"}` }, ""},
			{"helper of this registry", func(host string) string { return fmt.Sprintf(`{"credHelpers":{%q:"clade"}}`, host) }, ""},
			{"wrong password", func(host string) string { return auths(host, user, "other") }, clade.Denied},
			{"another registry's", func(string) string { return auths("registry.example.org", user, password) }, clade.Denied},
			{"no configuration", func(string) string { return "" }, clade.Denied},
		} {
			s, from := serve(t), master(t)
			if text := c.config(s.host); text != "" {
				login(t, text)
			}
			s.when(basic)
			if how == "token" {
				s.when(tokens(s, s.URL+"/token"))
			}
			_, err := from.push(s, from.template("1", base))
			if clade.KindOf(err) != c.kind {
				t.Errorf("%s, %s: Push error = %v, want kind %q", how, c.name, err, c.kind)
			}
			mustBeSilent(t, err)
			to := newHome(t)
			if _, _, err := to.pull(s, "1"); clade.KindOf(err) != c.kind {
				t.Errorf("%s, %s: pull error = %v, want kind %q", how, c.name, err, c.kind)
			}
			if c.kind == "" {
				mustHold(t, to, from, base)
			}
		}
	}
	if asked, err := os.ReadFile(filepath.Join(helper, "log")); err != nil || len(asked) == 0 {
		t.Errorf("the helper was asked for %q, %v", asked, err)
	}
}

func mustBeSilent(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	text := err.Error() + clade.HintOf(err)
	for _, secret := range []string{password, "other", base64.StdEncoding.EncodeToString([]byte(user + ":" + password))} {
		if strings.Contains(text, secret) {
			t.Errorf("the error tells a secret: %s", text)
		}
	}
}

func TestUnreadableConfiguration(t *testing.T) {
	s, from := serve(t), master(t)
	login(t, `{"auths":{"`+s.host+`":{"auth":"`+password)
	_, err := from.push(s, from.template("1", base))
	if !errors.Is(err, clade.Invalid) {
		t.Errorf("error = %v, want kind Invalid", err)
	}
	mustBeSilent(t, err)
}

// TestPasswordsStayHome has a registry ask for the password to be sent elsewhere.
func TestPasswordsStayHome(t *testing.T) {
	thief := serve(t)
	var stolen atomic.Int32
	thief.when(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") != "" {
			stolen.Add(1)
		}
		w.WriteHeader(http.StatusTeapot)
		return true
	})
	s, from := serve(t), master(t)
	login(t, auths(s.host, user, password))
	m := from.template("1", base)
	elsewhere := strings.Replace(thief.URL, "127.0.0.1", "127.0.0.2", 1)
	for name, do := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"realm": tokens(s, elsewhere+"/token"),
		"redirection": func(w http.ResponseWriter, r *http.Request) bool {
			if basic(w, r) {
				return true
			}
			http.Redirect(w, r, thief.URL+"/x", http.StatusTemporaryRedirect)
			return true
		},
		"upload location": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPost || basic(w, r) {
				return r.Method == http.MethodPost
			}
			w.Header().Set("Location", thief.URL+"/upload")
			w.WriteHeader(http.StatusAccepted)
			return true
		},
	} {
		s.when(do)
		if _, err := from.push(s, m); err == nil {
			t.Errorf("%s: Push went through", name)
		}
	}
	if n := stolen.Load(); n > 0 {
		t.Errorf("the password went elsewhere %d times", n)
	}
}

func TestNothingGoesInTheClear(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:5000": true, "127.0.0.1:5000": true, "127.1.2.3": true, "[::1]:5000": true, "[::1]": true,
		"registry.example.org": false, "10.0.0.1:5000": false, "localhost.example.org": false, "127.0.0.1.example.org:80": false,
		"[2001:db8::1]:5000": false, "[::ffff:127.0.0.1]:80": true, "": false,
	} {
		if got := loopback(host); got != want {
			t.Errorf("loopback(%q) = %v, want %v", host, got, want)
		}
	}
	s := serve(t)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (&guard{false, http.DefaultTransport}).RoundTrip(r); !errors.Is(err, clade.Denied) {
		t.Errorf("a registry that speaks TLS sends us to one that does not: error = %v, want kind Denied", err)
	}
	if _, _, requests := s.tally(); len(requests) > 0 {
		t.Errorf("it was asked %v", requests)
	}
}

// A server of Google Cloud Storage as object_store speaks to it: fake-gcs-server as a library, and in front of it what it lacks
// of the XML API: PUT with preconditions, multipart uploads, listings by pages that begin after a name, and what is missing said
// as Google says it.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/fsouza/fake-gcs-server/fakestorage"
)

// So few that tests have listings of several pages.
const pageSize = 50

var (
	contents = regexp.MustCompile(`(?s)<Contents>.*?</Contents>`)
	key      = regexp.MustCompile(`<Key>(.*?)</Key>`)
	ours     = regexp.MustCompile(`^/(storage/v1|upload|download|batch|_internal)/`)
)

type server struct {
	inner   http.Handler
	mutex   sync.Mutex
	uploads map[string]map[int][]byte
}

func main() {
	address := os.Args[1]
	options := fakestorage.Options{NoListener: true, PublicHost: address, ExternalURL: "http://" + address}
	storage, err := fakestorage.NewServerWithOptions(options)
	if err != nil {
		panic(err)
	}
	panic(http.ListenAndServe(address, &server{inner: storage.HTTPHandler(), uploads: map[string]map[int][]byte{}}))
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	bucket, object, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if ours.MatchString(r.URL.Path) || bucket == "" {
		s.inner.ServeHTTP(w, r)
		return
	}
	if s.ask("GET", "/storage/v1/b/"+bucket, nil).Code == http.StatusNotFound {
		w.WriteHeader(http.StatusNotFound)
		answer(w, "<Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist.</Message></Error>")
		return
	}
	query := r.URL.Query()
	switch {
	case r.Method == "POST" && query.Has("uploads"):
		s.mutex.Lock()
		id := strconv.Itoa(len(s.uploads) + 1)
		s.uploads[id] = map[int][]byte{}
		s.mutex.Unlock()
		answer(w, "<InitiateMultipartUploadResult><UploadId>"+id+"</UploadId></InitiateMultipartUploadResult>")
	case r.Method == "PUT" && query.Has("partNumber"):
		part, _ := io.ReadAll(r.Body)
		number, _ := strconv.Atoi(query.Get("partNumber"))
		s.mutex.Lock()
		s.uploads[query.Get("uploadId")][number] = part
		s.mutex.Unlock()
		w.Header().Set("ETag", fmt.Sprintf(`"%d"`, number))
	case r.Method == "POST" && query.Has("uploadId"):
		s.mutex.Lock()
		parts := s.uploads[query.Get("uploadId")]
		s.mutex.Unlock()
		var numbers []int
		for number := range parts {
			numbers = append(numbers, number)
		}
		sort.Ints(numbers)
		var whole []byte
		for _, number := range numbers {
			whole = append(whole, parts[number]...)
		}
		if etag, code := s.put(w, r, bucket, object, whole); code == http.StatusOK {
			answer(w, `<CompleteMultipartUploadResult><ETag>"`+etag+`"</ETag></CompleteMultipartUploadResult>`)
		} else {
			w.WriteHeader(code)
		}
	case r.Method == "PUT" && object != "":
		whole, _ := io.ReadAll(r.Body)
		_, code := s.put(w, r, bucket, object, whole)
		w.WriteHeader(code)
	case r.Method == "GET" && object == "":
		s.list(w, r, query)
	default:
		s.inner.ServeHTTP(w, r)
	}
}

// put sets the headers of the answer, and gives the object's ETag and the status.
func (s *server) put(w http.ResponseWriter, r *http.Request, bucket, object string, whole []byte) (string, int) {
	query := url.Values{"uploadType": {"media"}, "name": {object}}
	if generation := r.Header.Get("x-goog-if-generation-match"); generation != "" {
		query.Set("ifGenerationMatch", generation)
	}
	out := s.ask("POST", "/upload/storage/v1/b/"+bucket+"/o?"+query.Encode(), whole)
	var made struct{ Etag, Generation string }
	_ = json.Unmarshal(out.Body.Bytes(), &made)
	w.Header().Set("ETag", `"`+made.Etag+`"`)
	w.Header().Set("x-goog-generation", made.Generation)
	return made.Etag, out.Code
}

func (s *server) list(w http.ResponseWriter, r *http.Request, query url.Values) {
	out := httptest.NewRecorder()
	s.inner.ServeHTTP(out, r)
	after := max(query.Get("start-after"), query.Get("continuation-token"))
	count, last, more := 0, "", ""
	body := contents.ReplaceAllStringFunc(out.Body.String(), func(entry string) string {
		name := unescape(key.FindStringSubmatch(entry)[1])
		if after != "" && name <= after {
			return ""
		}
		if count++; count > pageSize && query.Get("delimiter") == "" {
			more = "<IsTruncated>true</IsTruncated><NextContinuationToken>" + escape(last) + "</NextContinuationToken>"
			return ""
		}
		last = name
		return entry
	})
	w.WriteHeader(out.Code)
	io.WriteString(w, strings.Replace(body, "</ListBucketResult>", more+"</ListBucketResult>", 1))
}

func (s *server) ask(method, path string, body []byte) *httptest.ResponseRecorder {
	out := httptest.NewRecorder()
	s.inner.ServeHTTP(out, httptest.NewRequest(method, path, bytes.NewReader(body)))
	return out
}

func answer(w http.ResponseWriter, text string) {
	io.WriteString(w, `<?xml version="1.0" encoding="UTF-8"?>`+text)
}

func escape(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
}

func unescape(text string) string {
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&#34;", `"`, "&#39;", "'", "&#x9;", "\t", "&amp;", "&").Replace(text)
}

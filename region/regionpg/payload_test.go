package regionpg

import (
	"reflect"
	"strings"
	"testing"

	"github.com/dogpile-go/dogpile/region"
)

func TestDecodeJSON(t *testing.T) {
	for payload, want := range map[string]region.Notice{
		`{"all":true}`:                               {All: true},
		` { "all" : true } ` + "\n":                  {All: true},
		`{"all":false}`:                              {},
		`{"tags":[]}`:                                {},
		`{"region":"","tags":["a"]}`:                 {Tags: []string{"a"}},
		`{"region":"users","keys":["a",""]}`:         {Region: "users", Keys: []string{"a", ""}},
		`{"mode":"hard","keys":["a"]}`:               {Mode: region.Hard, Keys: []string{"a"}},
		`{"keys":["a"],"mode":"soft"}`:               {Mode: region.Soft, Keys: []string{"a"}},
		`{"t\u0061gs":["\u2603\ud83d\ude00\u0000"]}`: {Tags: []string{"☃😀\x00"}},
	} {
		if got, err := decodeJSON(payload); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %+v, %v; want %+v", payload, got, err, want)
		}
	}
}

func TestDecodeJSONRefuses(t *testing.T) {
	for payload, why := range map[string]string{
		``:                               "empty",
		"  \n":                           "empty",
		`users`:                          "invalid",
		`"users"`:                        "not a JSON object",
		`null`:                           "not a JSON object",
		`true`:                           "not a JSON object",
		`["users"]`:                      "not a JSON object",
		`[{"all":true}]`:                 "not a JSON object",
		`{}`:                             "does not say",
		`{"region":"users"}`:             "does not say",
		`{"mode":"soft"}`:                "does not say",
		`{"all":true`:                    "EOF",
		`{"all"`:                         "EOF",
		`{"tags":["a"`:                   "EOF",
		`{"tags":["a"}`:                  "invalid",
		`{"all":true,}`:                  "invalid",
		`{"all":true}}`:                  "follows",
		`{"all":true} {"all":true}`:      "follows",
		`{"all":true}x`:                  "follows",
		`{"tables":["users"]}`:           `unknown member "tables"`,
		`{"all":true,"comment":"hello"}`: `unknown member "comment"`,
		`{"All":true}`:                   `unknown member "All"`,
		`{"TAGS":["a"]}`:                 `unknown member "TAGS"`,
		`{"tag\u017f":["a"]}`:            "unknown member",
		`{"":true}`:                      "unknown member",
		`{"` + strings.Repeat("a", 7000) + `":1}`: "(7000 bytes)",
		`{"all":false,"all":true}`:                "twice",
		`{"tags":["a"],"tags":["b"]}`:             "twice",
		`{"tags":["a"],"t\u0061gs":["b"]}`:        "twice",
		`{"all":1}`:                               "true or false",
		`{"all":"true"}`:                          "true or false",
		`{"all":null}`:                            "true or false",
		`{"region":null,"all":true}`:              "not a string",
		`{"region":["users"],"all":true}`:         "not a string",
		`{"region":7,"all":true}`:                 "not a string",
		`{"mode":null,"all":true}`:                "not a string",
		`{"mode":1,"all":true}`:                   "not a string",
		`{"mode":"","all":true}`:                  `not "hard" or "soft"`,
		`{"mode":"Soft","all":true}`:              `not "hard" or "soft"`,
		`{"tags":null}`:                           "not a list",
		`{"tags":"a"}`:                            "not a list",
		`{"tags":{"a":1}}`:                        "not a list",
		`{"tags":[1]}`:                            "not a string",
		`{"tags":[null]}`:                         "not a string",
		`{"keys":[["a"]]}`:                        "not a string",
		`{"keys":["\ud800"]}`:                     "unreadable",
		`{"keys":["\ufffd"]}`:                     "unreadable",
		"{\"keys\":[\"\xff\"]}":                   "not UTF-8",
	} {
		n, err := decodeJSON(payload)
		if err == nil || !strings.Contains(err.Error(), why) || len(err.Error()) > 500 {
			t.Errorf("%.80s: %+v, %v; want an error with %q", payload, n, err, why)
		}
	}
}

func FuzzDecodeJSON(f *testing.F) {
	for _, payload := range []string{"", `{"all":true}`, `{"region":"users","mode":"soft","tags":["a","b"],"keys":["\ud83d\ude00"]}`, `{"all":1}`, `[[[`} {
		f.Add(payload)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		n, err := decodeJSON(payload)
		if err == nil && (!strings.HasPrefix(strings.TrimLeft(payload, " \t\r\n"), "{") || n.Mode < 0 || n.Mode > region.Soft) {
			t.Errorf("%q is %+v, want an error", payload, n)
		}
	})
}

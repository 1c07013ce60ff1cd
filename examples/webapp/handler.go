package main

import (
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"strconv"

	"github.com/dogpile-go/dogpile/region"
)

// longestBody is the most that a request may send.
const longestBody = 64 << 10

// handler answers the requests.
func (c *catalogue) handler(log *log.Logger) http.Handler {
	answer := func(w http.ResponseWriter, what any, err error) { answer(w, log, what, err) }
	mux := http.NewServeMux()
	mux.HandleFunc("GET /products/{id}", func(w http.ResponseWriter, r *http.Request) {
		id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
		if err != nil {
			refuse(w, http.StatusBadRequest, "the id of a product is a number")
			return
		}
		p, err := c.product.Call(r.Context(), id)
		answer(w, p, err)
	})
	mux.HandleFunc("PUT /products/{id}", func(w http.ResponseWriter, r *http.Request) {
		id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
		if err != nil || id <= 0 {
			refuse(w, http.StatusBadRequest, "the id of a product is a number, from 1")
			return
		}
		p, err := productIn(http.MaxBytesReader(w, r.Body, longestBody))
		if err != nil {
			refuse(w, http.StatusBadRequest, err.Error())
			return
		}
		p.ID = id
		if err := c.put(r.Context(), p); errors.Is(err, region.ErrPending) {
			// It is stored, and the region goes on trying to tell the others.
			log.Print(err)
		} else if err != nil {
			answer(w, nil, err)
			return
		}
		answer(w, p, nil)
	})
	mux.HandleFunc("GET /categories/{name}", func(w http.ResponseWriter, r *http.Request) {
		list, err := c.category.Call(r.Context(), r.PathValue("name"))
		if list == nil {
			list = []Product{}
		}
		answer(w, list, err)
	})
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, r *http.Request) {
		answer(w, map[string]region.Stats{"products": Products.Stats(), "categories": Categories.Stats()}, nil)
	})
	return mux
}

// productIn reads a product, all of it.
func productIn(body io.Reader) (p Product, err error) {
	decoder := json.NewDecoder(body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p); err != nil {
		return p, err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return p, errors.New("there is more than one product")
	}
	if p.Name == "" || p.Category == "" || p.Cents < 0 {
		return p, errors.New("a product has a name, a category, and cents that are not negative")
	}
	return p, nil
}

func answer(w http.ResponseWriter, log *log.Logger, what any, err error) {
	switch {
	case errors.Is(err, region.ErrNotFound):
		refuse(w, http.StatusNotFound, "there is no such product")
		return
	case err != nil:
		log.Print(err)
		refuse(w, http.StatusInternalServerError, "that did not work")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(what) // whoever does not listen any more has no answer
}

func refuse(w http.ResponseWriter, status int, why string) {
	http.Error(w, why, status)
}

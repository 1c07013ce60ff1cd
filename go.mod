module github.com/dogpile-go/dogpile

go 1.26

require (
	github.com/fxamacker/cbor/v2 v2.9.6
	github.com/maypok86/otter/v2 v2.4.0
	go.uber.org/goleak v1.3.0
	pgregory.net/rapid v1.3.0
)

require github.com/x448/float16 v0.8.4 // indirect

module github.com/dogpile-go/dogpile

go 1.26

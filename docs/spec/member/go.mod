module member

go 1.26

func f() {
	if a {
		c()
	}
}

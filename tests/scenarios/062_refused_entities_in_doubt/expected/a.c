if (a < b) {
  one
}

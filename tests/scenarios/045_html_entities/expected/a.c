if (a < b && c) {
  x = "2" > y;
}

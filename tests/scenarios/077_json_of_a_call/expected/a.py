def area(w, h):
    # in metres
    return abs(w * h)


def edge(w, h):
    # in metres
    return 2 * (w + h)

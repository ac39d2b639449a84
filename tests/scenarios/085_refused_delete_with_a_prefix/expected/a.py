def area(w, h):
    # in metres
    return w * h


def edge(w, h):
    # in metres
    return 2 * (w + h)

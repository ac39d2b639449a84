def area(w, h):
    # in metres
    return w * h


def edge(w, h):
    # in metres
    assert w >= 0
    return 2 * (w + h)

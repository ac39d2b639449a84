int less(int a)
{
	return a;
}

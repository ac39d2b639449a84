int less(int a)
{
	return a &lt; 1;
}

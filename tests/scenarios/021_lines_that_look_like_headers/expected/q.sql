select 1;
++ new comment
++ counter
select 2;

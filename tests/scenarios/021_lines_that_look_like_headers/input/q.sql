select 1;
-- old comment
++ counter
select 2;
